/** Events that a reader must be told of when they are forgotten before it has read them. */
export const isKeptEvent = "kind IN ('message.accepted', 'message.changed', 'delivery.changed')";

/** States in which a delivery is over and did not get there, or may not have: people ask for these. */
export const endedInVain = "'failed', 'expired', 'ambiguous'";

/** How many transactions changed a database: beside it lies how many of them were acknowledged. See `commit-count.ts`. */
const commitsTable = `
  CREATE TABLE commits (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
  INSERT INTO commits VALUES (1, 0);
`;

/**
 * The tables of the three databases, as the steps that led to them: a file's `user_version` says how many
 * steps it has seen. A step that has been released is never changed; a change is a new step. Rows name a
 * message by its row number, which grows: an index over its random id would touch one more page for each row.
 */
export const gatewaySchema: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    rooms TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
  ) STRICT;

  CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    correlation TEXT,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX messages_sender ON messages (sender, seq);
  CREATE INDEX messages_recipient ON messages (recipient, seq);

  -- Every id by which a far side knows a message. Its uniqueness is what makes a repeat a repeat.
  CREATE TABLE remote_ids (
    scheme TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    message INTEGER NOT NULL,
    fingerprint BLOB,
    PRIMARY KEY (scheme, remote_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX remote_ids_message ON remote_ids (message);

  -- One row per message and recipient. Where the bridge is 'app' the rows are the recipient's inbox.
  CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    message INTEGER NOT NULL,
    bridge TEXT NOT NULL,
    recipient TEXT NOT NULL,
    priority INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    code TEXT,
    attempts INTEGER NOT NULL,
    underway INTEGER NOT NULL,
    next_at INTEGER,
    history TEXT NOT NULL,
    event INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX deliveries_message ON deliveries (message);
  CREATE INDEX deliveries_inbox ON deliveries (recipient, seq) WHERE bridge = 'app';
  CREATE INDEX deliveries_open ON deliveries (seq) WHERE state IN ('queued', 'sending') OR underway = 1;
  CREATE INDEX deliveries_unread ON deliveries (recipient, seq) WHERE bridge = 'app' AND state IN ('queued', 'sent');

  -- What must be the same at every attempt of a delivery that is not over.
  CREATE TABLE remembered (
    delivery INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
  ) STRICT;

  -- How far an app has acknowledged, and below which cursor its inbox has been forgotten.
  CREATE TABLE inbox_marks (
    recipient TEXT PRIMARY KEY,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    forgotten INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    message TEXT,
    body TEXT,
    audience TEXT NOT NULL
  ) STRICT;

  CREATE TABLE peers (
    address TEXT PRIMARY KEY,
    name TEXT,
    last_seen INTEGER NOT NULL,
    hops INTEGER
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE readings (
    device TEXT PRIMARY KEY,
    message INTEGER NOT NULL,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX readings_message ON readings (message);

  CREATE TABLE blob_owners (
    sha256 TEXT NOT NULL,
    client TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (sha256, client)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE message_blobs (
    sha256 TEXT NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (sha256, message)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX message_blobs_message ON message_blobs (message);
  `,
  `
  -- Who knows the message by this id: whoever told it, or was told; NULL where that was not noted yet.
  ALTER TABLE remote_ids ADD COLUMN known_to TEXT;
  `,
  `
  CREATE INDEX events_others ON events (seq) WHERE NOT (${isKeptEvent});
  CREATE INDEX deliveries_late ON deliveries (expires_at) WHERE bridge = 'app' AND state IN ('queued', 'sent');
  `,
  `
  -- Addresses of their own that local parties have on a mesh, with the private keys behind them. Where ended_at is
  -- set the party has given it up, and has it again when it comes back.
  CREATE TABLE residents (
    address TEXT PRIMARY KEY,
    party TEXT NOT NULL,
    bridge TEXT NOT NULL,
    name TEXT NOT NULL,
    key BLOB NOT NULL,
    since INTEGER NOT NULL,
    ended_at INTEGER,
    UNIQUE (party, bridge)
  ) STRICT, WITHOUT ROWID;
  ALTER TABLE clients ADD COLUMN identity TEXT NOT NULL DEFAULT 'hub';
  -- Whom the hub has to do with: not forgotten for strangers.
  ALTER TABLE peers ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
  `,
  `
  CREATE INDEX deliveries_in_vain ON deliveries (state, seq) WHERE state IN (${endedInVain});
  `,
  `
  -- What a delivery that has not left says instead of its message, since an edit was folded into it: JSON of the members
  -- it replaces. Kept until the delivery is over.
  CREATE TABLE rewritten (
    delivery INTEGER PRIMARY KEY,
    body TEXT NOT NULL
  ) STRICT;
  `,
  `
  -- Who did what to what, from where, and what came of it. \`act\` is 0 for what was refused.
  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    door TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT,
    keys TEXT,
    status INTEGER NOT NULL,
    code TEXT,
    count INTEGER NOT NULL,
    act INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX audit_act ON audit (act, seq);
  CREATE INDEX audit_at ON audit (at);
  `,
  `
  -- Endpoints that are told of events, with what they sign with and how far they have been told.
  CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    settings TEXT NOT NULL,
    secrets TEXT NOT NULL,
    position TEXT NOT NULL,
    status TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- What was changed of rooms and routes while the hub ran, as JSON; it lies over the configuration.
  CREATE TABLE rooms (name TEXT PRIMARY KEY, change TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE routes (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL) STRICT;
  -- What the owner says of a peer, and what the peer has said of being written to.
  CREATE TABLE peer_notes (
    address TEXT PRIMARY KEY,
    alias TEXT,
    trust TEXT,
    consent TEXT
  ) STRICT, WITHOUT ROWID;
  -- Addresses, or patterns of them, that nothing is taken from and nothing goes to.
  CREATE TABLE blocks (pattern TEXT PRIMARY KEY, reason TEXT, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  -- JSON of what it looks like, as its own messages say.
  ALTER TABLE peers ADD COLUMN avatar TEXT;
  `,
  `
  ALTER TABLE clients ADD COLUMN role TEXT;
  -- Goes up with every change, but not by being used.
  ALTER TABLE clients ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
  -- Tokens that were replaced and are good for a while: JSON of their hashes and ends.
  ALTER TABLE clients ADD COLUMN previous TEXT NOT NULL DEFAULT '[]';
  ALTER TABLE clients ADD COLUMN rotated_at INTEGER;
  ALTER TABLE clients ADD COLUMN used_at INTEGER;
  ALTER TABLE clients ADD COLUMN used_from TEXT;
  `,
  `
  -- With the type in it, what a list of somebody's messages passes over is not read from the table.
  CREATE INDEX messages_sender_type ON messages (sender, seq, type);
  CREATE INDEX messages_recipient_type ON messages (recipient, seq, type);
  DROP INDEX messages_sender;
  DROP INDEX messages_recipient;
  `,
  `
  -- What rules said of deliveries that they made, as JSON, each once; and of which.
  CREATE TABLE rulings (seq INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE ruled (delivery INTEGER PRIMARY KEY, ruling INTEGER NOT NULL) STRICT;
  CREATE INDEX ruled_ruling ON ruled (ruling);
  `,
  commitsTable,
  `
  -- What an app has not read lies in its inbox and does not wait to be sent: nobody looks for it here.
  DROP INDEX deliveries_open;
  CREATE INDEX deliveries_open ON deliveries (seq)
    WHERE bridge <> 'app' AND (state IN ('queued', 'sending') OR underway = 1);
  `,
  `
  -- Counted among what AUTOINCREMENT counts, whose page hardly any commit leaves as it is: a table would be a page more for each.
  INSERT INTO sqlite_sequence (name, seq) SELECT 'commits', number FROM commits;
  DROP TABLE commits;
  `,
];

export const meshSchema: readonly string[] = [
  `
  CREATE TABLE entries (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
  ) STRICT, WITHOUT ROWID;
  `,
  commitsTable,
];

/** The writes of the replicas. Whatever a client or a cloud said is sealed: these rows hold people's tokens. */
export const outboxSchema: readonly string[] = [
  `
  CREATE TABLE operations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    partition TEXT NOT NULL,
    state TEXT NOT NULL,
    next_at INTEGER,
    client_key TEXT,
    facts TEXT NOT NULL,
    status TEXT NOT NULL,
    request BLOB NOT NULL,
    base BLOB,
    answer BLOB,
    outcome BLOB,
    theirs BLOB
  ) STRICT;
  CREATE UNIQUE INDEX operations_key ON operations (service, partition, client_key) WHERE client_key IS NOT NULL;

  CREATE TABLE given_ids (
    service TEXT NOT NULL,
    partition TEXT NOT NULL,
    provisional TEXT NOT NULL,
    given TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (service, partition, provisional)
  ) STRICT, WITHOUT ROWID;
  `,
  commitsTable,
];
