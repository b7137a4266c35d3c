module github.com/holdfast-go/holdfast/benchmarks

go 1.26.0

replace github.com/holdfast-go/holdfast => ../

require github.com/holdfast-go/holdfast v0.0.0

require (
	github.com/avast/retry-go/v5 v5.1.1 // indirect
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/eapache/go-resiliency v1.7.0 // indirect
	github.com/failsafe-go/failsafe-go v0.9.8 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
)
