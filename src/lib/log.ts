import { pino } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Facts with stable keys: `code`, `interface`, `destination`, `hops`, `ms`. Hashes as 8 hex digits; never payloads or keys. */
export type LogFacts = Readonly<Record<string, unknown>>;

/** What a part may say about itself: one JSON line each. */
export interface Log {
  trace(facts: LogFacts, message: string): void;
  debug(facts: LogFacts, message: string): void;
  info(facts: LogFacts, message: string): void;
  warn(facts: LogFacts, message: string): void;
  error(facts: LogFacts, message: string): void;
  child(facts: Record<string, unknown>): Log;
}

/** A log whose level may be set while it is used: what lies below it is not said. */
export interface LeveledLog extends Log {
  level: string;
}

/** The log with a level; one that has none says everything, and what is set is only remembered. */
export function leveled(log: Log, level: LogLevel): LeveledLog {
  return 'level' in log ? (log as LeveledLog) : Object.assign(Object.create(log) as Log, { level });
}

/** The program's logger: JSON lines on stderr, so that stdout is free for what a script reads. */
export function createLog(level: LogLevel): LeveledLog {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { error: pino.stdSerializers.err },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Says nothing; for tests and tools. */
export const silentLog: Log = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
};
