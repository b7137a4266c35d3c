// Package dynamocoord keeps a failover decision in DynamoDB.
//
//	coord, err := dynamocoord.Open(ctx, dynamodb.NewFromConfig(cfg), dynamocoord.Config{Table: "holdfast-failover", Regions: regions})
//
// # Which table
//
// One of two kinds, with a partition key pk and a sort key sk, both strings:
//
//   - a global table with multi-Region strong consistency (three replicas, or two and a witness). It survives the loss of any one Region. Give
//     each process a client of its own Region's endpoint.
//   - a table of one Region that serves nothing else of the fleet, a third one. It survives the loss of the others.
//
// A global table with eventual consistency is refused: two Regions could both win a swap. Turn on time to live on the attribute
// expires, which drops votes that are past their retention.
//
// # Requests
//
// Loads are GetItem with ConsistentRead, votes a Query with ConsistentRead, stores PutItem with a condition. A store that the other Region
// of a global table contends for (ReplicatedWriteConflictException) was not made and is tried again, after at least 50 ms,
// while the context lasts. A store that the SDK repeats because an answer was lost meets itself: the condition's failure brings the stored
// record along, and that is the one that was to be stored.
//
// # What is tested
//
// The requests run against moto, one Region, every third answer to a store lost; conflicts of two Regions against a scripted fake, which follows DynamoDB's documentation.
// Nothing here has run against AWS, nor against a real global table.
package dynamocoord
