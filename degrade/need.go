package degrade

// A Need is something a feature needs to work: a [*Dependency], another [*Feature], or several of them
// joined by [AllOf] or [AnyOf]. A nil Need is met by nothing and always.
//
// Needs are handles, so what is needed exists before what needs it: a cycle cannot be declared.
type Need interface {
	// offers is what the need offers in v, and who is to blame if that is not StateOK.
	offers(v *view) (State, string)
	// walk visits every dependency below the need.
	walk(visit func(*Dependency))
	// wrong says why the need cannot be used with c; "" if it can.
	wrong(c *Controller) string
}

// A view is a state of the world to derive levels from: the present one or a supposed one.
type view struct {
	state   func(*Dependency) State
	stubbed func(*Dependency) bool
	level   func(*Feature) Level
	op      Op   // what the need is for
	noStub  bool // the feature does not accept stubs
}

// AllOf is met when all of needs are: it is as bad as the worst. AllOf() is always met; it declares a
// fallback that needs nothing.
func AllOf(needs ...Need) Need { return &several{needs: needs, all: true} }

// AnyOf is met when one of needs is: it is as good as the best.
func AnyOf(needs ...Need) Need { return &several{needs: needs} }

type several struct {
	needs []Need
	all   bool
}

func (s *several) offers(v *view) (State, string) {
	state, blame := StateOK, ""
	if !s.all {
		state = StateDown
	}
	for i, n := range s.needs {
		offered, who := n.offers(v)
		if (s.all && offered > state) || (!s.all && (i == 0 || offered < state)) {
			state, blame = offered, who
		}
	}
	return state, blame
}

func (s *several) walk(visit func(*Dependency)) {
	for _, n := range s.needs {
		n.walk(visit)
	}
}

func (s *several) wrong(c *Controller) string {
	if len(s.needs) == 0 && !s.all {
		return "AnyOf() of nothing can never be met"
	}
	for _, n := range s.needs {
		if n == nil {
			return "a nil Need in AllOf or AnyOf"
		}
		if why := n.wrong(c); why != "" {
			return why
		}
	}
	return ""
}

// offer is n.offers for a Need that may be nil.
func offer(n Need, v *view) (State, string) {
	if n == nil {
		return StateOK, ""
	}
	return n.offers(v)
}

// leaves collects the dependencies below n.
func leaves(n Need) map[*Dependency]bool {
	set := map[*Dependency]bool{}
	if n != nil {
		n.walk(func(d *Dependency) { set[d] = true })
	}
	return set
}
