import { type InterfaceNotice, shownName } from './discovery-wire.ts';

const i2pSuffix = '.b32.i2p';

/**
 * The section of a configuration of the reference that reaches an interface which was announced, as `rnstatus -D` shows
 * it. What is not told, such as the port of a radio, is left open. Nothing that was announced can add a line of its own.
 *
 * Source: the manual of Reticulum, “Interfaces”; checked against RNS 1.5.7 in the conformance suite.
 */
export function referenceEntry(notice: InterfaceNotice): string {
  const { networkName, passphrase, transportId } = notice;
  const lines = [
    ...linesOf(notice),
    ['transport_identity', transportId.toHex()],
    ...(networkName === undefined ? [] : [['network_name', quoted(networkName)]]),
    ...(passphrase === undefined ? [] : [['passphrase', quoted(passphrase)]]),
  ];
  const name = plain(shownName(notice)).replaceAll(/[[\]#"',=]/g, '');
  return [
    `[[${name.trim() || notice.type}]]`,
    ...lines.map(([key, value]) => `  ${key} = ${value ?? ''}`.trimEnd()),
    ...remarksOf(notice).map(([what, value]) => `  # ${what}: ${plain(String(value))}`),
  ].join('\n');
}

type Line = readonly [key: string, value: string | number | undefined];

function linesOf(notice: InterfaceNotice): Line[] {
  const { type, reachableOn = '', port, frequency, bandwidth, spreadingFactor, codingRate } = notice;
  const begin = (kind: string): Line[] => [
    ['type', kind],
    ['enabled', 'yes'],
  ];
  switch (type) {
    case 'BackboneInterface':
      return [...begin(type), ['remote', reachableOn], ['target_port', port]];
    case 'TCPServerInterface':
      return [...begin('TCPClientInterface'), ['target_host', reachableOn], ['target_port', port]];
    case 'I2PInterface':
      return [
        ...begin(type),
        ['peers', reachableOn.endsWith(i2pSuffix) ? reachableOn : reachableOn + i2pSuffix],
      ];
    case 'RNodeInterface':
      return [
        ...begin(type),
        ['port', undefined],
        ['frequency', frequency],
        ['bandwidth', bandwidth],
        ['spreadingfactor', spreadingFactor],
        ['codingrate', codingRate],
        ['txpower', undefined],
      ];
    case 'WeaveInterface':
    case 'KISSInterface':
      return [...begin(type), ['port', undefined]];
    case 'TCPClientInterface':
      return begin(type);
  }
}

/** What a device cannot be told, but its owner must know. */
function remarksOf({ type, frequency, bandwidth, channel, modulation }: InterfaceNotice): Line[] {
  if (type !== 'KISSInterface' && type !== 'WeaveInterface') {
    return [];
  }
  const facts = { Frequency: frequency, Bandwidth: bandwidth, Channel: channel, Modulation: modulation };
  return Object.entries(facts).flatMap(([what, value]) =>
    typeof value === 'string' || typeof value === 'number' ? [[what, value] as const] : [],
  );
}

/** A value as ConfigObj reads it back; nothing where it cannot be written on a line. */
function quoted(text: string): string {
  const quote = ['"', "'"].find(mark => !text.includes(mark));
  if (plain(text) !== text || quote === undefined) {
    return '';
  }
  return /^[\w.:+/@-]+$/.test(text) ? text : `${quote}${text}${quote}`;
}

/** Without what ends a line or is not seen. */
function plain(text: string): string {
  return text.replaceAll(/\p{C}|[\u2028\u2029]/gu, ' ');
}
