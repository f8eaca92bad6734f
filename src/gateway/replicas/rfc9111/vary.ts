import { createHash } from 'node:crypto';
import { type Fields, joined, listOf } from '../fields.ts';

/** Request fields a response depends on, in lower case, sorted; undefined for `*`: no other request is like that one. */
export function varyNames(response: Fields): readonly string[] | undefined {
  const names = listOf(joined(response, 'vary')).map(name => name.toLowerCase());
  return names.includes('*') ? undefined : [...new Set(names)].sort();
}

/**
 * What the request says in those fields, as a text that is equal where the requests are: lines are joined and
 * white space around commas does not count. Only preferences (`Accept…`) stand in it as they were said.
 *
 * Source: RFC 9111 §4.1.
 */
export function varyKey(names: readonly string[], request: Fields): string {
  return names.length === 0 ? '' : JSON.stringify(names.map(name => [name, normalized(request, name)]));
}

/** Whether a request selects a response stored under this key. */
export function selects(key: string, request: Fields): boolean {
  if (key === '') {
    return true;
  }
  const wanted = JSON.parse(key) as [string, string | null][];
  return wanted.every(([name, value]) => normalized(request, name) === value);
}

function normalized(request: Fields, name: string): string | null {
  const value = joined(request, name);
  if (value === undefined) {
    return null;
  }
  const said = listOf(value).join(',');
  // What may be a credential is not written to the disk; of what it must equal a digest tells as much.
  return name.startsWith('accept') ? said : createHash('sha256').update(said).digest('base64url');
}
