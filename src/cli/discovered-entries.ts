import { stringify } from 'yaml';
import type { DiscoveredView } from '../bridges/http/discovered.ts';
import { printable } from './call.ts';
import { parseIni } from './rns/ini.ts';
import { interfaceOf } from './rns/interfaces.ts';

/** What to configure for an interface that was found: an entry of kos.yaml, where there is such a kind here, and the reference's. */
export function entriesOf({ configEntry, name }: Pick<DiscoveredView, 'configEntry' | 'name'>): string {
  const title = printable(name);
  return configEntry === undefined
    ? `# ${title}: for the owner alone`
    : `# ${title}: interfaces of kos.yaml\n${ownEntry(configEntry)}\n# and of the reference\n${configEntry}`;
}

function ownEntry(configEntry: string): string {
  const title = 'interfaces';
  const [section] = parseIni(`[${title}]\n${configEntry}`).sections.get(title)?.sections.values() ?? [];
  const imported = section && interfaceOf(section, new Set(), { taken: [], left: [] });
  if (imported === undefined) {
    return '# there is no such kind here';
  }
  const { entry, passphrase } = imported;
  return [
    ...(passphrase === undefined ? [] : [`# ifac.passphraseFile: a file with ${printable(passphrase)}`]),
    stringify([entry]).trimEnd(),
  ].join('\n');
}
