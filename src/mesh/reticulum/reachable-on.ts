/*
 * Where others can reach a node, as it says in an announce: bytes from anybody that may end up in a connection.
 *
 * Source: the rules of RNS 1.5.7.
 */

/** Whether it is an IPv4 or IPv6 address; a zone belongs to one machine and is none. */
export function isIpAddress(text: string): boolean {
  return isIpv4(text) || isIpv6(text);
}

/** Whether it is a host name: labels of letters, digits and hyphens, the last one no number. */
export function isHostname(text: string): boolean {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  const labels = name.split('.');
  return (
    name.length <= 253 &&
    !/^\d+$/.test(labels.at(-1) ?? '') &&
    labels.every(label => /^(?!-)[a-z0-9-]{1,63}(?<!-)$/i.test(label))
  );
}

/** Whether it is either. */
export function isReachable(text: string): boolean {
  return text !== '' && (isIpAddress(text) || isHostname(text));
}

/**
 * Whether nothing must be connected to there unasked: this machine itself, whoever says so from afar, and networks
 * that it takes a program of their own to get into (onion, Yggdrasil).
 */
export function isOutOfReach(text: string): boolean {
  const name = text.toLowerCase().replace(/\.$/, '');
  if (name.endsWith('.onion') || name === 'localhost' || name.endsWith('.localhost')) {
    return true;
  }
  if (isIpv4(name)) {
    return /^(?:127|0|169\.254)\./.test(name) || Number(name.split('.', 1)[0]) >= 224;
  }
  const words = ipv6Words(name);
  if (words === undefined) {
    return false;
  }
  const [first = 0] = words;
  const isYggdrasil = (first & 0xfe00) === 0x0200;
  const isMulticast = (first & 0xff00) === 0xff00;
  const isLinkLocal = (first & 0xffc0) === 0xfe80;
  const isSelf = words.slice(0, 7).every(word => word === 0) && (words[7] ?? 0) <= 1;
  const mapped = mappedIpv4(words);
  return (
    isYggdrasil || isMulticast || isLinkLocal || isSelf || (mapped !== undefined && isOutOfReach(mapped))
  );
}

/** Whether it is an address of a network that is somebody's own. Source: RFC 1918, RFC 6598, RFC 4193. */
export function isPrivateAddress(text: string): boolean {
  if (isIpv4(text)) {
    const [a = 0, b = 0] = text.split('.').map(Number);
    return (
      a === 10 ||
      (a === 172 && b >= 16 && b < 32) ||
      (a === 192 && b === 168) ||
      (a === 100 && b >= 64 && b < 128)
    );
  }
  const words = ipv6Words(text);
  const mapped = words && mappedIpv4(words);
  return mapped === undefined ? ((words?.[0] ?? 0) & 0xfe00) === 0xfc00 : isPrivateAddress(mapped);
}

function mappedIpv4(words: readonly number[]): string | undefined {
  const [a = 0, b = 0] = words.slice(6);
  const isMapped = words.slice(0, 5).every(word => word === 0) && words[5] === 0xffff;
  return isMapped ? `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}` : undefined;
}

function isIpv4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every(part => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

function isIpv6(text: string): boolean {
  return ipv6Words(text) !== undefined;
}

/** The eight words of an IPv6 address. Source: RFC 4291 §2.2. */
function ipv6Words(text: string): number[] | undefined {
  if (text.length > 45 || !text.includes(':')) {
    return undefined;
  }
  const halves = text.split('::');
  if (halves.length > 2) {
    return undefined;
  }
  const [head, tail] = halves.map(half => (half === '' ? [] : half.split(':')));
  const all = [...(head ?? []), ...(tail ?? [])];
  const last = all.at(-1) ?? '';
  const isMixed = last.includes('.');
  if (isMixed && !isIpv4(last)) {
    return undefined;
  }
  const plain = isMixed ? all.slice(0, -1) : all;
  if (!plain.every(word => /^[0-9a-f]{1,4}$/i.test(word))) {
    return undefined;
  }
  const wordsOf = (parts: readonly string[]) =>
    parts.flatMap(part => {
      if (!part.includes('.')) {
        return [Number.parseInt(part, 16)];
      }
      const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
      return [(a << 8) | b, (c << 8) | d];
    });
  const before = wordsOf(head ?? []);
  const after = wordsOf(tail ?? []);
  const missing = 8 - before.length - after.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) {
    return undefined;
  }
  return [...before, ...Array<number>(missing).fill(0), ...after];
}
