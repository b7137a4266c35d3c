package intrusive

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type item struct {
	n    int
	link Link[item]
}

// check walks l both ways.
func check(t *testing.T, l *List[item], want []int) {
	t.Helper()
	var ahead, back []int
	for e := l.First(); e != nil; e = e.link.Next() {
		ahead = append(ahead, e.n)
	}
	for e := l.Last(); e != nil; e = e.link.Prev() {
		back = append(back, e.n)
	}
	slices.Reverse(back)
	if !slices.Equal(ahead, want) || !slices.Equal(back, want) {
		t.Fatalf("the list is %v, and backwards %v, want %v", ahead, back, want)
	}
}

// Random steps do to a list what they do to a slice.
func TestListIsASlice(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var l List[item]
		var model []int
		items := make([]*item, 8)
		for i := range items {
			items[i] = &item{n: i}
		}
		for range 100 {
			e := items[rng.IntN(len(items))]
			at := slices.Index(model, e.n)
			if e.link.Listed() != (at >= 0) {
				t.Fatalf("Listed(%d) = %t in %v", e.n, e.link.Listed(), model)
			}
			switch step := rng.IntN(4); {
			case at < 0 && step == 0:
				l.Remove(&e.link) // which is not there
			case at < 0 && step == 1:
				l.PushBack(e, &e.link)
				model = append(model, e.n)
			case at < 0:
				i := rng.IntN(len(model) + 1)
				var after *Link[item]
				if i > 0 {
					after = &items[model[i-1]].link
				}
				l.InsertAfter(e, &e.link, after)
				model = slices.Insert(model, i, e.n)
			case step < 2:
				l.Remove(&e.link)
				model = slices.Delete(model, at, at+1)
			default:
				l.MoveToBack(&e.link)
				model = append(slices.Delete(model, at, at+1), e.n)
			}
			check(t, &l, model)
		}
	}
}

func TestListAllocatesNothing(t *testing.T) {
	var l List[item]
	a, b := &item{n: 1}, &item{n: 2}
	if n := testing.AllocsPerRun(100, func() {
		l.PushBack(a, &a.link)
		l.InsertAfter(b, &b.link, &a.link)
		l.MoveToBack(&a.link)
		l.Remove(&a.link)
		l.Remove(&b.link)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// Elements of one place stay in the order in which they came.
func TestInsertSorted(t *testing.T) {
	var l List[item]
	var want []int
	for i, place := range []int{5, 1, 5, 9, 0, 1, 5, 7} {
		e := &item{n: 10*place + i}
		l.InsertSorted(e, &e.link, func(other *item) bool { return other.n/10 > place })
		want = append(want, e.n)
		slices.Sort(want)
		check(t, &l, want)
	}
	if n := testing.AllocsPerRun(100, func() {
		e := l.Last()
		l.Remove(&e.link)
		l.InsertSorted(e, &e.link, func(other *item) bool { return other.n > e.n })
	}); n != 0 {
		t.Errorf("InsertSorted allocates %v times, want none", n)
	}
}
