package shed_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/shed"
)

func Example() {
	s := holdfast.Must(shed.New(shed.Config{Name: "front", MaxInFlight: 10}))
	for range 6 { // six requests are in flight
		_ = s.AdmitClass(context.Background(), shed.CriticalPlus)
	}
	fmt.Println(errors.Is(s.AdmitClass(context.Background(), shed.Sheddable), degrade.ErrShed))
	fmt.Println(s.AdmitClass(context.Background(), shed.Critical))
	// Output:
	// true
	// <nil>
}

func ExampleShedder_Middleware() {
	s := holdfast.Must(shed.New(shed.Config{MaxInFlight: 100, MaxClass: shed.Critical})) // nobody outside is critical-plus
	handler := s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		class, _ := shed.From(r.Context())
		fmt.Fprint(w, class)
	}))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Baggage", "holdfast.criticality=critical-plus")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: critical
}
