package idempotency

// An instantly is a store that looks at no context and answers without waiting for anything: steps at it need no time limit, which costs
// more than they do.
type instantly interface{ instant() bool }

func instant(s Store) bool {
	i, ok := s.(instantly)
	return ok && i.instant()
}

func (*Memory) instant() bool     { return true }
func (r *Regional) instant() bool { return r.near }
