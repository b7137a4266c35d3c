package sqstest_test

// The digests of the sample attributes, computed by another program.
const (
	sampleDigest = "35ee509f49619b2107ed0453c5d95180"
	traceDigest  = "62a56dd927315f2b2e12832b84617ea5"
)

// A deviation is a rule that a server is known to break.
type deviation struct {
	seen string // part of the complaint
	does string // what it does, for the table in docs/sqstest.md
}

// deviations lists what each server does against the documentation. A rule that is on a server's
// list must fail there in just that way.
func deviations() map[string]map[string]deviation {
	return map[string]map[string]deviation{
		"sqstest": {},
		"fauxqs":  {},
		"moto":    {},
	}
}
