/** What the suite sends beside a command's name, as JSON gave it. */
export type Params = Readonly<Record<string, unknown>>;

/** What a command answers: JSON, with bytes as hex and times as epoch seconds. */
export type Result = Readonly<Record<string, unknown>>;

/** One command of the bridge. It drives the real stack; what it throws is answered as an error in words. */
export type Command = (params: Params) => Result | Promise<Result>;

export type Commands = Readonly<Record<string, Command>>;

/** What a file of commands exports. */
export interface Family {
  readonly commands: Commands;
  /** Ends what the commands left running, when the suite hangs up. */
  readonly close?: () => Promise<void>;
}
