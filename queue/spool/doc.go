// Package spool keeps deferred calls on disk while no Region takes them.
//
//	s, err := spool.Open("/var/lib/orders/spool", spool.Config{})
//	defer s.Close()
//	client, err := queue.NewClient(regional, queue.ClientConfig{Spool: s, SpoolDurable: true})
//
// # Promise
//
// A message whose Append returned nil was written and fsynced. It is handed out until it was settled as sent or refused,
// through any crash of the process or the machine. After a crash a message that was sent may be sent again, under the same
// call ID; none is forgotten. What the volume itself loses is lost: declare ClientConfig.SpoolDurable only for a volume
// that outlives the host.
//
// # Files
//
// A directory holds segments of 64 MiB, appended to and never changed. A record is a length, a CRC-32C over all that
// follows, a sequence number, a kind and the message. Concurrent Appends share one fdatasync. What was settled is
// written as a record too; a segment of which every message is settled is removed. Rules for damage:
//
//   - A torn tail (the last record of the newest segment, cut or unreadable) was never acknowledged: it is cut off.
//   - Damage elsewhere is skipped to the next readable record, counted, and the bytes kept in quarantine/.
//   - After a failed fsync the segment is never written or synced again, because its pages may be dropped and
//     marked clean: what is pending is rewritten to a new segment. Appends that waited for it fail only if that fails too.
//   - A full disk or MaxBytes refuses Appends with queue.ErrSpoolFull and changes nothing.
//   - MaxAge moves what is older to expired/ instead of sending it.
//
// One process at a time: the directory is locked (flock). [Spool.Adopt] takes over the messages of spools in
// sibling directories whose process is gone.
package spool
