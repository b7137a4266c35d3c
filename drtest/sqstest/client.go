package sqstest

import (
	"context"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Options returns settings of an SDK client for this server at endpoint, such as the URL of an
// [net/http/httptest.Server] in front of it: its Region, its address and credentials that nobody checks.
func (s *Server) Options(endpoint string) sqs.Options {
	return sqs.Options{
		Region:       s.home(),
		BaseEndpoint: aws.String(endpoint),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDSQSTEST", SecretAccessKey: "secret"}, nil
		}),
	}
}

// clients are the HTTP clients that the server gave out.
type clients struct {
	mu   sync.Mutex
	made []*http.Client
}

func (c *clients) add(h *http.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, h)
}

func (c *clients) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.made {
		h.CloseIdleConnections()
	}
}
