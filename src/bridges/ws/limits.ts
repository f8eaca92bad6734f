/** Close codes clients act on. */
export const closeCodes = {
  unauthorized: 4001,
  slow: 4008,
  expired: 4009,
  restarting: 1012,
  later: 1013,
  policy: 1008,
  fault: 1011,
} as const;

/** Bounds of one socket; ms and bytes. */
export const wsLimits = {
  /** A socket that does not say who it is. */
  hello: 10_000,
  /** Between pings. */
  ping: 30_000,
  /** Written and not yet taken by the client: above `slack` events wait, above `buffered` the socket is closed. */
  slack: 256 * 1024,
  buffered: 8 * 1024 * 1024,
  /** How long events may wait so. */
  patience: 30_000,
  frameBytes: 2 * 1024 * 1024,
  subscriptions: 32,
  /** Sends and `seen` that are not on disk yet; above it nothing more is read. */
  inFlight: 64,
  /** Wrong frames, until the socket is closed. */
  mistakes: 100,
};

export type WsLimits = Readonly<typeof wsLimits>;
