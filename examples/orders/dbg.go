package main
import ("log/slog";"os")
func dbg() *slog.Logger { f,_:=os.Create("/tmp/orders.log"); return slog.New(slog.NewTextHandler(f,nil)) }
