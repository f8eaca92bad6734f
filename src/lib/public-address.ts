import { BlockList, isIPv6 } from 'node:net';

/**
 * Which addresses are of the public internet. Everything that a machine, a home or a cloud keeps to itself is not:
 * what names a public service must not be led there by DNS.
 *
 * Source: IANA special-purpose address registries (RFC 6890 and what follows it).
 */
const special = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  special.addSubnet(net, bits, 'ipv4');
}
// Global unicast is 2000::/3, less what is reserved within it.
for (const [net, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  special.addSubnet(net, bits, 'ipv6');
}
const globalUnicast = new BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');
const translated = new BlockList();
translated.addSubnet('64:ff9b::', 96, 'ipv6');

/** Whether an IP address is a public one. An address of a form that carries an IPv4 address counts as that one. */
export function isPublicAddress(address: string): boolean {
  const bare = address.replace(/%.*$/, '');
  if (!isIPv6(bare)) {
    return !special.check(bare, 'ipv4');
  }
  const inner = embeddedIPv4(bare);
  if (inner !== undefined) {
    return !special.check(inner, 'ipv4');
  }
  return globalUnicast.check(bare, 'ipv6') && !special.check(bare, 'ipv6');
}

/** The IPv4 address that an IPv6 address carries: mapped, or translated (NAT64). */
export function embeddedIPv4(address: string): string | undefined {
  const canonical = URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1) ?? '';
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical);
  const nat64 = translated.check(address, 'ipv6')
    ? /^64:ff9b::(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})$/.exec(canonical)
    : null;
  const match = mapped ?? nat64;
  if (match === null) {
    return undefined;
  }
  const bits = Number.parseInt(match[1] ?? '0', 16) * 65_536 + Number.parseInt(match[2] ?? '0', 16);
  return [bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255].join('.');
}
