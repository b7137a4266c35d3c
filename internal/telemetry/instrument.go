package telemetry

// Kind is an instrument's kind.
type Kind uint8

const (
	KindCounter   Kind = iota // observed, monotonic, int64
	KindGauge                 // observed, int64; never with unit "1", which Prometheus would call a ratio
	KindLevel                 // observed, float64 gauge
	KindHistogram             // recorded synchronously, float64
)

func (k Kind) String() string {
	return [...]string{"counter", "gauge", "gauge", "histogram"}[k]
}

// An Instrument is one metric. Instruments are compared by address: declare each once, as a package variable.
type Instrument struct {
	Name        string // holdfast.<package>.<thing>
	Unit        string // UCUM; "" for states and levels
	Description string
	Kind        Kind
	Attributes  []Attribute
	Buckets     []float64 // of a histogram; nil = the provider's default
}

// An Attribute is a key of an instrument. Its values are a closed set: either listed here or
// chosen by the operator's configuration, never by traffic.
type Attribute struct {
	Key    string
	Values []string // the closed set; nil when From says where values come from
	From   string   // such as "Config.Name"
}

// A Package is one package's instruments.
type Package struct {
	Name        string // import path below the module, such as "retry"
	Instruments []*Instrument
}

// ScopeName is the instrumentation scope of the package's meter and tracer.
func (p *Package) ScopeName() string { return module + "/" + p.Name }

const module = "github.com/holdfast-go/holdfast"

// NameAttribute is the attribute every handle carries: its Config.Name.
var NameAttribute = Attribute{Key: "name", From: "Config.Name"}

// DurationBuckets are the boundaries, in seconds, of histograms of calls, the ones OpenTelemetry's
// semantic conventions recommend for messaging and HTTP.
var DurationBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
