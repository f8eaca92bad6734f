/**
 * The media type among those offered, the preferred first, that an `Accept` header likes best; undefined where none will
 * do. Without a header, or with one that is not well-formed, it is the first.
 * Source: RFC 9110 §12.4.2, §12.5.1.
 */
export function negotiate<T extends string>(
  accept: string | readonly string[] | undefined,
  offered: readonly [T, ...T[]],
): T | undefined {
  // What nearly all clients say.
  if (accept === undefined || accept === '*/*' || accept === offered[0]) {
    return offered[0];
  }
  const ranges = [accept].flat().join(',').split(',').map(rangeOf);
  const known = ranges.filter(range => range !== undefined);
  if (known.length === 0) {
    return offered[0];
  }
  let best: { readonly type: T; readonly q: number } | undefined;
  for (const type of offered) {
    const q = qualityOf(type, known);
    if (q > (best?.q ?? 0)) {
      best = { type, q };
    }
  }
  return best?.type;
}

interface Range {
  readonly type: string;
  readonly q: number;
}

const rangePattern =
  /^\s*([\w!#$&^.+*-]+\/[\w!#$&^.+*-]+)\s*((?:;\s*[\w!#$&^.+*-]+\s*=\s*(?:[\w!#$&^.+*-]+|"[^"]*")\s*)*)$/;

function rangeOf(text: string): Range | undefined {
  const [, type = '', parameters = ''] = rangePattern.exec(text) ?? [];
  if (type === '') {
    return undefined;
  }
  const q = /;\s*q\s*=\s*([01](?:\.\d{0,3})?)(?=\s*(?:;|$))/i.exec(parameters)?.[1];
  return { type: type.toLowerCase(), q: q === undefined ? 1 : Math.min(1, Number(q)) };
}

/** By the range that says most about the type. */
function qualityOf(type: string, ranges: readonly Range[]): number {
  for (const wanted of [type, `${type.split('/', 1)[0]}/*`, '*/*']) {
    const range = ranges.find(one => one.type === wanted);
    if (range !== undefined) {
      return range.q;
    }
  }
  return 0;
}
