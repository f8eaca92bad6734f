import type { Route } from './route.ts';

/** The id of an operation in the OpenAPI document, and its name where it has no other: `postTokens`. */
export function operationIdOf({ method, path }: Pick<Route, 'method' | 'path'>): string {
  const name = path
    .replace(/^\/(?:v1\/)?/, '')
    .replaceAll(/[^a-zA-Z0-9]+(\w?)/g, (_, next: string) => next.toUpperCase());
  return `${method.toLowerCase()}${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}
