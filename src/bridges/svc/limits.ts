import { listenerLimits } from '../listener.ts';

/** Limits of the replicas' HTTP server; docs/limits.md says why. All ms but the sizes. What it shares with the other listener is the same. */
export const svcLimits = {
  headerBytes: listenerLimits.headerBytes,
  headers: 128,
  headersTimeout: listenerLimits.headersTimeout,
  /** A whole request: there is no bound on what goes through but this. */
  requestTimeout: 3_600_000,
  idleTimeout: listenerLimits.idleTimeout,
  keepAlive: listenerLimits.keepAlive,
  connections: listenerLimits.connections,
  idleConnections: listenerLimits.idleConnections,
  idleBurst: listenerLimits.idleBurst,
  idleGrace: listenerLimits.idleGrace,
  drain: listenerLimits.drain,
  idleCheck: listenerLimits.idleCheck,
  /** A client that asked whether to send its body is told to after this, where the service says nothing. */
  continueAfter: 1000,
} as const;
