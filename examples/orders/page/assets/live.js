// The stream of server-sent events, kept alive.

const PATIENCE = 35_000; // more than two heartbeats

// follow calls on.snapshot, on.change and on.events with what the service says, and on.link with 'live' or 'lost'. The
// browser itself reconnects a stream that breaks; this opens a new one when it gave up, or when nothing was heard.
export function follow(address, on) {
  let source, last = '', heard = 0, wait = 1000, again;

  function open() {
    clearTimeout(again);
    source?.close();
    heard = Date.now();
    source = new EventSource(last ? `${address}?last=${encodeURIComponent(last)}` : address);
    source.onerror = () => {
      on.link('lost');
      if (source.readyState === EventSource.CLOSED) later();
    };
    for (const kind of ['snapshot', 'change', 'events', 'beat', 'bye']) source.addEventListener(kind, hear);
  }

  function later() {
    again = setTimeout(open, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, 10_000);
  }

  function hear(message) {
    heard = Date.now();
    if (message.type === 'bye') return on.link('lost');
    wait = 1000;
    on.link('live');
    if (message.type === 'beat') return;
    last = message.lastEventId;
    on[message.type](JSON.parse(message.data));
  }

  open();
  setInterval(() => {
    if (Date.now() - heard < PATIENCE || source.readyState === EventSource.CLOSED) return;
    on.link('lost');
    open();
  }, 5000);
  addEventListener('pagehide', () => source.close());
  addEventListener('pageshow', (e) => e.persisted && open());
}
