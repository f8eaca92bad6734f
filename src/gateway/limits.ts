/** Every bound of the switch; docs/limits.md has the reasons. */
export interface Limits {
  /** UTF-8 bytes of a message's text. */
  readonly textBytes: number;
  /** Bytes of a message's `data` and `native` as JSON, each. */
  readonly dataBytes: number;
  readonly attachments: number;
  /** Bytes of one blob, and of all together. */
  readonly blobBytes: number;
  readonly blobsTotal: number;
  /** Bytes of blobs of one client that no message names. */
  readonly unnamedBlobs: number;
  /** Bytes of an attachment that comes as base64 inside a request. */
  readonly inlineAttachment: number;
  /** Deliveries not over, per destination and in all. */
  readonly queuedPerDestination: number;
  readonly queuedTotal: number;
  /** ms until the first repeat of an attempt, at most, and the longest wait between two. */
  readonly firstRetry: number;
  readonly longestRetry: number;
  /** Attempts after which a failure that nobody foresaw ends a delivery. */
  readonly bugAttempts: number;
  readonly peers: number;
  /** ms between two `peer.seen` events of one peer. */
  readonly peerEventEvery: number;
  /** `peer.seen` events of all peers together in a minute: far ones and their names cost nothing to invent. */
  readonly peerEventsPerMinute: number;
  /** ms an event is kept; how many of messages and deliveries, and how many others, which need not be told twice. */
  readonly eventAge: number;
  readonly eventCount: number;
  readonly otherEventCount: number;
  readonly inboxAge: number;
  readonly inboxCount: number;
  readonly messageAge: number;
  readonly messageCount: number;
  /** ms a blob that nothing names is kept: its message may be on the way. */
  readonly orphanAge: number;
  /** ms a line of the audit log is kept; lines of what was done, and of what was refused. */
  readonly auditAge: number;
  readonly auditCount: number;
  readonly auditRefusals: number;
  /** Clients that have not been revoked. */
  readonly clients: number;
  /** Members of a room; rules of routes. */
  readonly members: number;
  readonly routes: number;
  /** Local parties with addresses of their own on the mesh; as many that gave theirs up are remembered. */
  readonly residents: number;
}

const day = 24 * 60 * 60 * 1000;
const mebibyte = 1024 * 1024;

export const defaultLimits: Limits = {
  textBytes: 256 * 1024,
  dataBytes: 256 * 1024,
  attachments: 32,
  blobBytes: 32 * mebibyte,
  blobsTotal: 1024 * mebibyte,
  unnamedBlobs: 128 * mebibyte,
  inlineAttachment: 256 * 1024,
  queuedPerDestination: 10_000,
  queuedTotal: 100_000,
  firstRetry: 2000,
  longestRetry: 10 * 60 * 1000,
  bugAttempts: 5,
  peers: 10_000,
  peerEventEvery: 60_000,
  peerEventsPerMinute: 600,
  eventAge: 7 * day,
  eventCount: 200_000,
  otherEventCount: 20_000,
  inboxAge: 7 * day,
  inboxCount: 100_000,
  messageAge: 30 * day,
  messageCount: 1_000_000,
  orphanAge: day,
  auditAge: 365 * day,
  auditCount: 50_000,
  auditRefusals: 10_000,
  clients: 1000,
  members: 256,
  routes: 256,
  residents: 256,
};
