package service

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade"
	"github.com/holdfast-go/holdfast/degrade/degradehttp"
	"github.com/holdfast-go/holdfast/failover"
)

// stockWindows says how old stock may be: a second in good times, ten minutes when it cannot be read.
var stockWindows = degrade.StaleConfig{Fresh: time.Second, WhileRevalidate: 10 * time.Second, IfError: 10 * time.Minute, WhenDegraded: time.Minute, LoadTimeout: 2 * time.Second}

// errNoArticle is permanent, so that no copy answers for an article that is gone.
var errNoArticle = holdfast.Permanent(errors.New("service: no such article"))

// loadStock reads stock near this process, where the copy is at most a minute old.
func (s *Service) loadStock(ctx context.Context, sku string) (StockItem, error) {
	item, err := read(ctx, s, func(ctx context.Context, db *sql.DB) (StockItem, error) {
		return s.parts.Database.StockOf(ctx, db, sku)
	}, failover.MaxStaleness(stockMaxStaleness))
	if errors.Is(err, sql.ErrNoRows) {
		return item, errNoArticle
	}
	return item, err
}

// getStock answers GET /stock/{sku}, with an Age when the answer is a copy.
func (s *Service) getStock(w http.ResponseWriter, r *http.Request) {
	item, err := s.Stock.Get(r.Context(), r.PathValue("sku"))
	switch {
	case errors.Is(err, errNoArticle):
		problem(w, http.StatusNotFound, "There is no such article.", "")
	case err != nil:
		degradehttp.Error(w, r, err)
	default:
		if item.Source == degrade.SourceStale {
			w.Header().Set("Age", strconv.Itoa(int(item.Age.Seconds())))
		}
		reply(w, http.StatusOK, item.Value)
	}
}
