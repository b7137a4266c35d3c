package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

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

// staleMail decides about a mail of an older write epoch: it may tell of an order that the move has lost, and nobody is told that an order is placed which is not there. Such a mail
// is for a person, with the loss list. The other deferred calls read the order anyway.
func (s *Service) staleMail(ctx context.Context, e queue.Envelope, _ uint64) queue.StalePolicy {
	_, err := s.found(ctx, strings.TrimPrefix(e.ID, mailID))
	switch {
	case err == nil:
		return queue.StaleRun
	case errors.Is(err, errNoOrder):
		return queue.StaleDead
	}
	return queue.StaleWait
}

// mailID is before the order in the ID of its mail.
const mailID = "mail-"

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
