package service

import (
	"errors"
	"net/http"

	"github.com/holdfast-go/holdfast/degrade/degradehttp"
)

// listed is how many orders GET /orders returns.
const listed = 20

// getOrder answers GET /orders/{id}, to the customer whose order it is.
func (s *Service) getOrder(w http.ResponseWriter, r *http.Request) {
	customer, ok := customerOf(w, r)
	if !ok {
		return
	}
	order, err := s.find(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, errNoOrder), err == nil && order.Customer != customer:
		problem(w, http.StatusNotFound, "There is no such order.", "")
	case err != nil:
		degradehttp.Error(w, r, err)
	default:
		reply(w, http.StatusOK, order)
	}
}

// listOrders answers GET /orders with the customer's newest.
func (s *Service) listOrders(w http.ResponseWriter, r *http.Request) {
	customer, ok := customerOf(w, r)
	if !ok {
		return
	}
	orders, err := s.list(r.Context(), customer, listed)
	if err != nil {
		degradehttp.Error(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string][]Order{"orders": orders})
}
