import { GatewayError } from '../../lib/errors.ts';
import { invalid } from '../schema.ts';

/** Parts of a form, and bytes of the headers of one and of what stands before the first. */
const mostParts = 64;
const headerBytes = 8 * 1024;

/** One part of a form, as its headers say; `body` is read before the next part comes, or passed over. */
export interface Part {
  readonly name: string;
  readonly fileName?: string;
  readonly mediaType?: string;
  readonly body: AsyncGenerator<Buffer, void, undefined>;
}

/** The boundary in a `Content-Type` of `multipart/form-data`. Throws `request/invalid`. Source: RFC 2046 §5.1.1. */
export function boundaryOf(contentType: string): string {
  const [, quoted, bare] = /;\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType) ?? [];
  const boundary = quoted ?? bare;
  if (boundary === undefined || !/^[\w'()+,./:=? -]*[\w'()+,./:=?-]$/.test(boundary)) {
    throw malformed('no boundary of 1 to 70 characters in the Content-Type');
  }
  return boundary;
}

/**
 * The parts of a multipart body, one after the other as they come. Holds no more of it than a chunk and the headers of a
 * part. Throws `request/invalid` for what is no such body, `request/too-large`.
 *
 *     --boundary CRLF headers CRLF CRLF bytes CRLF --boundary … CRLF --boundary--
 *
 * Source: RFC 7578; RFC 2046 §5.1.
 */
export async function* parts(
  bytes: AsyncIterator<Uint8Array>,
  boundary: string,
): AsyncGenerator<Part, void, undefined> {
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  // As if a line had ended before: the first delimiter may stand at the very beginning.
  let held: Buffer = Buffer.from('\r\n');

  const more = async () => {
    const { done, value } = await bytes.next();
    if (done === true) {
      throw malformed('it ends within a part');
    }
    held = held.length === 0 ? Buffer.from(value) : Buffer.concat([held, value]);
  };
  const upTo = async (mark: Buffer, most: number) => {
    for (let from = 0; ; ) {
      const at = held.indexOf(mark, from);
      if (at >= 0) {
        const before = held.subarray(0, at);
        held = held.subarray(at + mark.length);
        return before;
      }
      if (held.length > most) {
        throw malformed(`no line of the form's own within ${most} bytes`);
      }
      from = Math.max(0, held.length - mark.length);
      await more();
    }
  };
  async function* body(): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const at = held.indexOf(delimiter);
      const free = at >= 0 ? at : held.length - delimiter.length + 1;
      if (free > 0) {
        const piece = held.subarray(0, free);
        held = held.subarray(free);
        yield piece;
      }
      if (at >= 0) {
        held = held.subarray(delimiter.length);
        return;
      }
      await more();
    }
  }

  await upTo(delimiter, headerBytes);
  for (let count = 1; ; count++) {
    while (held.length < 2) {
      await more();
    }
    if (held.subarray(0, 2).toString('latin1') === '--') {
      return;
    }
    if (count > mostParts) {
      throw new GatewayError('request/too-large', `more than ${mostParts} parts`);
    }
    const padding = await upTo(Buffer.from('\r\n'), headerBytes);
    if (!/^[ \t]*$/.test(padding.toString('latin1'))) {
      throw malformed('something stands behind a boundary');
    }
    // The line that ends the headers ends the boundary's own line where there are none.
    held = Buffer.concat([Buffer.from('\r\n'), held]);
    const head = await upTo(Buffer.from('\r\n\r\n'), headerBytes);
    const content = body();
    yield { ...headersOf(head.toString('utf8')), body: content };
    for await (const _ of content) {
      // What its reader did not want.
    }
  }
}

function headersOf(head: string): Omit<Part, 'body'> {
  const headers = new Map<string, string>();
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) {
      headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
    }
  }
  const disposition = headers.get('content-disposition') ?? '';
  const name = parameter(disposition, 'name');
  if (!/^form-data\s*;/i.test(disposition) || name === undefined) {
    throw malformed('a part without Content-Disposition: form-data; name=…');
  }
  const fileName = parameter(disposition, 'filename');
  const mediaType = headers.get('content-type');
  return {
    name,
    ...(fileName !== undefined && { fileName }),
    ...(mediaType !== undefined && { mediaType }),
  };
}

/** Browsers write `"` in a name as %22, and line breaks as %0D%0A; curl writes `\"`. Source: WHATWG HTML, multipart/form-data. */
function parameter(disposition: string, name: string): string | undefined {
  const pattern = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;"]+))`, 'i');
  const [, quoted, bare] = pattern.exec(disposition) ?? [];
  return (quoted?.replaceAll(/\\(["\\])/g, '$1') ?? bare)
    ?.replaceAll(/%22/g, '"')
    .replaceAll(/%0[dD]|%0[aA]/g, ' ');
}

function malformed(detail: string): GatewayError {
  return invalid([{ pointer: '', detail: `not a multipart form: ${detail}` }]);
}
