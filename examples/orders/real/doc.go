// Package real has the parts of the order service on servers that are there: PostgreSQL, Redis and SQS in each Region, named by the environment.
//
//	ORDERS_US_EAST_1_SQL=postgres://… ORDERS_US_EAST_1_REDIS=host:port ORDERS_US_EAST_1_SQS=http://… ORDERS_US_EAST_1_URL=http://…
//	ORDERS_US_WEST_2_SQL=… (and so on) ORDERS_PAYMENTS=http://… ORDERS_MAIL=http://…
//	go run ./examples/orders -parts real -self us-east-1
//
// Open waits for no server that is gone. On one that is there it makes what is missing: tables, queues with their dead-letter queues. What passes can be led through a
// network of one's own (Config.Dial) and counted (Config.Watch); package lab and the test of round trips do.
//
// The coordinator is a file that the processes of one machine share: for more than one machine put a failover/dynamocoord in its place, in a third Region.
package real
