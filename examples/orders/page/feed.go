package page

import (
	"crypto/rand"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ring is how many frames are kept for clients that are late or were away.
const ring = 256

// A frame is one server-sent event, rendered once for all streams.
type frame struct {
	number uint64
	kind   string // snapshot, change, events
	data   []byte
}

// A snapshot is everything a browser shows.
type snapshot struct {
	At      time.Time         `json:"at"` // when State was read, zero before
	EveryMs int64             `json:"every_ms"`
	Trouble string            `json:"trouble,omitempty"` // why it is old
	Events  []Event           `json:"events"`            // the newest last
	Series  map[string]series `json:"series"`            // by Region
	view
}

// A change is what one reading of State changed. What is nil did not change.
type change struct {
	At       time.Time        `json:"at"`
	Trouble  *string          `json:"trouble,omitempty"`
	Decision *decisionView    `json:"decision,omitempty"`
	Regions  []regionView     `json:"regions,omitempty"` // those that changed
	Ledger   *[]sumView       `json:"ledger,omitempty"`
	Faults   *[]faultView     `json:"faults,omitempty"`
	Actions  *[]actionView    `json:"actions,omitempty"`
	Points   map[string]point `json:"points,omitempty"` // by Region
}

// A feed holds what the page shows now and the frames that led there. Its methods block on nothing but its mutex.
type feed struct {
	boot    string // begins the IDs: those of another process are not resumed
	actions []Action
	keep    int // events

	mu      sync.Mutex // guards the rest; no callback and no write to a client under it
	now     snapshot
	newest  State
	meters  map[string]*meter
	frames  []frame // the newest last, at most ring
	number  uint64  // of the newest frame
	more    chan struct{}
	streams int
}

func newFeed(cfg Config) *feed {
	return &feed{
		boot: rand.Text()[:8], actions: cfg.Actions, keep: cfg.Events.keep, meters: map[string]*meter{}, more: make(chan struct{}),
		now: snapshot{
			EveryMs: cfg.Every.Milliseconds(), Trouble: "the service is starting", Events: []Event{}, Series: map[string]series{},
			view: viewOf(State{}, nil),
		},
	}
}

// state returns the newest State.
func (f *feed) state() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

// snapshot returns what the page shows now. The caller must not change it.
func (f *feed) snapshot() snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// read takes in a State that was read at an instant.
func (f *feed) read(s State, v view, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := sameRegions(v.Regions, f.now.Regions)
	c := f.differenceLocked(v, at)
	f.newest, f.now.view, f.now.At, f.now.Trouble = s, v, at, ""
	before := f.now.Series
	f.now.Series = map[string]series{} // snapshots hold the old one
	for _, r := range s.Regions {
		if f.meters[r.Name] == nil {
			f.meters[r.Name] = &meter{}
		}
		p := f.meters[r.Name].point(r, at)
		f.now.Series[r.Name] = before[r.Name].add(p)
		c.Points[r.Name] = p
	}
	if !same {
		f.addLocked("snapshot", f.now)
		return
	}
	f.addLocked("change", c)
}

func sameRegions(a, b []regionView) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

// differenceLocked is what v changes in what is shown, without points.
func (f *feed) differenceLocked(v view, at time.Time) change {
	c := change{At: at, Points: map[string]point{}}
	if f.now.Trouble != "" {
		c.Trouble = new(string)
	}
	if !reflect.DeepEqual(v.Decision, f.now.Decision) {
		c.Decision = &v.Decision
	}
	if !reflect.DeepEqual(v.Ledger, f.now.Ledger) {
		c.Ledger = &v.Ledger
	}
	if !reflect.DeepEqual(v.Faults, f.now.Faults) {
		c.Faults = &v.Faults
	}
	if !reflect.DeepEqual(v.Actions, f.now.Actions) {
		c.Actions = &v.Actions
	}
	for i, r := range v.Regions {
		if i >= len(f.now.Regions) || !reflect.DeepEqual(r, f.now.Regions[i]) {
			c.Regions = append(c.Regions, r)
		}
	}
	return c
}

// trouble shows why the State is old.
func (f *feed) trouble(why string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now.Trouble == why {
		return
	}
	f.now.Trouble = why
	f.addLocked("change", change{At: f.now.At, Trouble: &why})
}

// happened adds events to the timeline.
func (f *feed) happened(events []Event) {
	if len(events) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := append(f.now.Events[:len(f.now.Events):len(f.now.Events)], events...)
	f.now.Events = all[max(0, len(all)-f.keep):]
	f.addLocked("events", events)
}

// addLocked renders a frame and wakes the streams.
func (f *feed) addLocked(kind string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("page: " + err.Error()) // all types are ours
	}
	f.number++
	f.frames = append(f.frames, frame{f.number, kind, data})
	if extra := len(f.frames) - ring; extra > 0 {
		f.frames = append(f.frames[:0:0], f.frames[extra:]...)
	}
	close(f.more)
	f.more = make(chan struct{})
}

// after returns the frames that follow number, and a channel that is closed when there are more. Who is too far behind, or
// ahead, gets a snapshot.
func (f *feed) after(number uint64) (frames []frame, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := f.number + 1 - uint64(len(f.frames))
	if number == 0 || number+1 < oldest || number > f.number {
		data, err := json.Marshal(f.now)
		if err != nil {
			panic("page: " + err.Error())
		}
		return []frame{{f.number, "snapshot", data}}, f.more
	}
	return append(frames, f.frames[number+1-oldest:]...), f.more
}

// id is a frame's on the wire.
func (f *feed) id(number uint64) string { return f.boot + "-" + strconv.FormatUint(number, 10) }

// resume returns the number of the frame with an ID; 0, which no frame has, for one of another process and for nonsense.
func (f *feed) resume(id string) uint64 {
	digits, ours := strings.CutPrefix(id, f.boot+"-")
	number, err := strconv.ParseUint(digits, 10, 63)
	if !ours || err != nil {
		return 0
	}
	return number
}

// enter counts a stream in, if there is room.
func (f *feed) enter(most int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams >= most {
		return false
	}
	f.streams++
	return true
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams--
}
