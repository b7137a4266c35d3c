package sqstest

import (
	"context"

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
