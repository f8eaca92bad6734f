import { type Fields, field } from '../fields.ts';
import { requestDirectives, responseDirectives } from './directives.ts';
import { hasExplicitLifetime, isHeuristicallyCacheable } from './freshness.ts';
import { varyNames } from './vary.ts';

export interface StoringRules {
  /** Whether several users read the same store: then `private`, Set-Cookie and credentials forbid storing. */
  readonly shared: boolean;
  /** Answers that would take the place of something useful (errors, refusals) are not kept, whatever HTTP allows. */
  readonly replica: boolean;
  readonly override: readonly string[];
}

/** Final statuses whose meaning this cache knows, for `must-understand`. */
const understood: ReadonlySet<number> = new Set([
  200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 421, 451, 501,
]);
/** What a replica keeps: an error of the moment must not take the place of an answer. */
const kept: ReadonlySet<number> = new Set([
  200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414,
]);

/**
 * Whether the answer to a GET may be kept.
 *
 * Source: RFC 9111 §3, §3.5, §5.2.2.3; RFC 9110 §12.5.5.
 */
export function mayStore(request: Fields, status: number, response: Fields, rules: StoringRules): boolean {
  const { directives } = responseDirectives(response);
  if (status < 200 || status === 304 || status === 416 || varyNames(response) === undefined) {
    return false;
  }
  if (rules.replica && !kept.has(status)) {
    return false;
  }
  const understands = directives.has('must-understand');
  if (understands && !understood.has(status)) {
    return false;
  }
  const overridden = (name: string) => rules.override.includes(name);
  if (directives.has('no-store') && !understands && !overridden('no-store')) {
    return false;
  }
  if (requestDirectives(request).has('no-store')) {
    return false;
  }
  if (rules.shared && !overridden('private')) {
    const open = directives.has('public') || directives.has('s-maxage');
    if (directives.has('private') || (field(response, 'set-cookie') !== undefined && !open)) {
      return false;
    }
    const credentials = field(request, 'authorization') !== undefined;
    if (credentials && !open && !directives.has('must-revalidate')) {
      return false;
    }
  }
  if (status === 206 && !isSoundPart(response)) {
    return false;
  }
  return (
    directives.has('public') ||
    hasExplicitLifetime(response, directives) ||
    isHeuristicallyCacheable(status) ||
    (!rules.shared && directives.has('private')) ||
    overridden('no-store')
  );
}

/** A part can be used again only where it says which part of what it is. */
function isSoundPart(response: Fields): boolean {
  return (
    /^bytes \d+-\d+\/\d+$/.test(field(response, 'content-range') ?? '') &&
    /^"/.test(field(response, 'etag') ?? '')
  );
}
