import type { Exception } from './outcome.ts';

/** Every test of the suite that is known not to pass; docs/conformance.md says the same in words. */
export const exceptions: readonly Exception[] = [];
