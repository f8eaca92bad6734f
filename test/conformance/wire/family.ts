import type { Commands } from '../command.ts';

/** The commands that speak over real sockets: every file of this folder adds its own here. */
export const commands: Commands = {};

export async function close(): Promise<void> {}
