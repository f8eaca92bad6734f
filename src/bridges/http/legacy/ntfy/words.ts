import type { IncomingMessage } from 'node:http';

/** What headers and the query of a request say, under any of several names. */
export interface Words {
  /** The first that is there and not empty, headers before the query; `x-` is tried before each header's name. */
  text(...names: readonly string[]): string | undefined;
  /** `1`, `yes` or `true`; undefined where nothing is said. */
  flag(...names: readonly string[]): boolean | undefined;
  /** With commas between them. */
  list(...names: readonly string[]): readonly string[];
}

/** Source: docs.ntfy.sh/publish, "List of all parameters"; a parameter may stand in a header or in the query. */
export function wordsOf({ headers, url }: Pick<IncomingMessage, 'headers' | 'url'>): Words {
  const query = queryOf(url);
  const text = (...names: readonly string[]) => {
    const fields = names.flatMap(name => [headers[`x-${name}`], headers[name]]);
    const field = fields.find(one => typeof one === 'string' && one.trim() !== '' && !isHttpPriority(one));
    if (typeof field === 'string') {
      return decoded(field.trim());
    }
    const asked = names.flatMap(name => [query.get(`x-${name}`), query.get(name)]);
    return asked.find(one => one !== null && one.trim() !== '')?.trim();
  };
  return {
    text,
    flag(...names) {
      const word = text(...names)?.toLowerCase();
      return word === undefined ? undefined : word === '1' || word === 'yes' || word === 'true';
    },
    list: (...names) =>
      (text(...names) ?? '')
        .split(',')
        .map(one => one.trim())
        .filter(one => one !== ''),
  };
}

/** The query of a request's address. */
export function queryOf(url = '/'): URLSearchParams {
  const at = url.indexOf('?');
  return new URLSearchParams(at < 0 ? '' : url.slice(at + 1));
}

/** What browsers and proxies mean by `Priority`. Source: RFC 9218 §4. */
function isHttpPriority(value: string): boolean {
  return /^u=\d(?:,\s*(?:i|\d))?$/.test(value.trim());
}

/** Node reads headers as latin1; scripts write UTF-8 into them, or encoded words. Source: RFC 2047 §2. */
function decoded(value: string): string {
  const bytes = Buffer.from(value, 'latin1').toString('utf8');
  const text = bytes.includes('\ufffd') ? value : bytes;
  return text.replace(/=\?utf-8\?([bq])\?([^?\s]*)\?=(?:\s+(?==\?))?/gi, (_, form: string, word: string) => {
    const raw =
      form.toLowerCase() === 'b'
        ? Buffer.from(word, 'base64')
        : Buffer.from(
            word
              .replaceAll('_', ' ')
              .replaceAll(/=([0-9a-f]{2})/gi, (_, hex: string) =>
                String.fromCharCode(Number.parseInt(hex, 16)),
              ),
            'latin1',
          );
    return raw.toString('utf8');
  });
}
