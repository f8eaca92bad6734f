import { randomInt } from 'node:crypto';

/** What this run leaves to chance begins with it: `SEED`, or any, which the test has to say. */
export const seed = Number(process.env.SEED ?? randomInt(1_000_000));
