package service

import (
	"net/mail"
	"time"
)

// A Status is how far an order has come.
type Status string

// The statuses.
const (
	StatusPending  Status = "payment pending" // the charge is deferred
	StatusPaid     Status = "paid"
	StatusDeclined Status = "declined"
)

// An Order is what a customer bought.
type Order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Email    string    `json:"email"`
	SKU      string    `json:"sku"`
	Quantity int       `json:"quantity"`
	Cents    int64     `json:"cents"`
	Status   Status    `json:"status"`
	Settled  bool      `json:"settled"`
	Placed   time.Time `json:"placed"`
}

// sameAs reports whether o and p are what one customer asked for once.
func (o *Order) sameAs(p Order) bool {
	return o.Customer == p.Customer && o.Email == p.Email && o.SKU == p.SKU && o.Quantity == p.Quantity
}

// A StockItem is what there is of an article.
type StockItem struct {
	SKU      string    `json:"sku"`
	Quantity int       `json:"quantity"`
	Counted  time.Time `json:"counted"`
}

// An orderRequest is the body of POST /orders.
type orderRequest struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Email    string `json:"email"`
}

// Prices is the catalogue in cents: this example is not about catalogues.
var Prices = map[string]int64{"anvil": 4200, "rope": 900, "magnet": 1500}

const maxQuantity = 100

// problem says what is wrong with a request, "" if nothing is.
func (r *orderRequest) problem() string {
	address, err := mail.ParseAddress(r.Email)
	switch {
	case Prices[r.SKU] == 0:
		return "sku: no such article"
	case r.Quantity < 1 || r.Quantity > maxQuantity:
		return "quantity: want 1 to 100"
	case err != nil || address.Address != r.Email || len(r.Email) > 254:
		return "email: want an address like ann@example.com"
	}
	return ""
}
