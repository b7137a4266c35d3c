package idempotency

// A table finds the entries of a shard by their hashes. They lie in chains, most of one entry: a look-up reads one place of the table and hardly
// ever an entry that it does not look for, where a map reads three places.
type table struct {
	first []*entry // of the chains, by the upper half of the hash; twice as many as there are entries, or more, and a power of two
	n     int      // entries
}

const minChains = 16

func (t *table) chain(hash uint64) **entry { return &t.first[hash>>32&uint64(len(t.first)-1)] }

// find returns p's entry, or nil.
func (t *table) find(p *spot) *entry {
	if t.n == 0 {
		return nil
	}
	e := *t.chain(p.hash)
	for e != nil && (e.spot.hash != p.hash || e.spot.place != p.place) {
		e = e.chain
	}
	return e
}

// add takes in e, of a spot that has no entry.
func (t *table) add(e *entry) {
	t.n++
	if 2*t.n > len(t.first) {
		t.grow()
	}
	t.push(e)
}

func (t *table) push(e *entry) {
	first := t.chain(e.spot.hash)
	e.chain, *first = *first, e
}

// remove takes e out.
func (t *table) remove(e *entry) {
	at := t.chain(e.spot.hash)
	for *at != e {
		at = &(*at).chain
	}
	*at, e.chain = e.chain, nil
	t.n--
}

func (t *table) grow() {
	old := t.first
	t.first = make([]*entry, max(minChains, 2*len(old)))
	for _, e := range old {
		for e != nil {
			next := e.chain
			t.push(e)
			e = next
		}
	}
}
