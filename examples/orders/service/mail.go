package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/queue"
)

// Mail tells a customer about an order.
var Mail = queue.Define[MailArgs]("orders.mail.v1")

// MailArgs are the arguments of [Mail].
type MailArgs struct {
	Order  string `json:"order"`
	To     string `json:"to"`
	Status Status `json:"status"`
}

// sendMail hands a mail to the relay, which knows nothing of keys: a mail is sent twice if the relay's answer is lost, on the way or with the
// worker, and never otherwise.
func (s *Service) sendMail(ctx context.Context, args MailArgs) error {
	body, err := json.Marshal(args)
	if err != nil {
		return holdfast.Permanent(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.parts.Mail.String(), bytes.NewReader(body))
	if err != nil {
		return holdfast.Permanent(err)
	}
	resp, err := s.parts.Net.RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	return mailed(resp.StatusCode)
}

// mailed is what the relay's answer says of the mail.
func mailed(status int) error {
	err := fmt.Errorf("service: the mail relay answers %d", status)
	switch {
	case status < 300:
		return nil
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return holdfast.NotRun(err)
	case status >= 500:
		return holdfast.Unknown(err)
	}
	return holdfast.Permanent(err) // the address, say: for a person
}
