import { parseIni } from '../../../src/cli/rns/ini.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { defaultCap } from '../../../src/mesh/reticulum/announce-pacer.ts';
import { ingressDefaults } from '../../../src/mesh/reticulum/ingress.ts';
import { type InterfaceMode, interfaceModes } from '../../../src/mesh/reticulum/interface-policy.ts';
import { codeSizeDefault, policyOf } from '../../../src/radio/config.ts';
import { tcpBitrate } from '../../../src/radio/tcp-client.ts';
import type { Commands } from '../command.ts';
import { textOf } from '../params.ts';
import { usageIn } from '../wire/settings.ts';

/** Code points of the reference's API. */
const codeOf = (mode: InterfaceMode): number => interfaceModes.indexOf(mode) + 1;

export const commands: Commands = {
  config_parse_interface: params => {
    const name = textOf(params, 'interface_name');
    const section = parseIni(textOf(params, 'config_text')).sections.get('interfaces')?.sections.get(name);
    if (section === undefined) return { error: `there is no interface ${name} in it` };
    const read = usageIn(section);
    const { networkName, passphrase } = read;
    // What the mesh is handed, in its units.
    const { announce, ingress, bitrate } = policyOf(read);
    // The suite's own kind of interface is none of ours: it has the defaults of one over TCP.
    const size = codeSizeDefault('tcp-client');
    const code =
      (networkName ?? passphrase) === undefined
        ? undefined
        : new AccessCode({ networkName, passphrase, size: read.codeSize ?? size });
    const ic = { ...ingressDefaults, ...ingress };
    return {
      selected_interface_mode: codeOf(read.mode),
      configured_bitrate: bitrate ?? null,
      mode: codeOf(read.mode),
      mode_name: read.mode,
      bitrate: bitrate ?? tcpBitrate,
      announce_cap: announce?.cap ?? defaultCap,
      ifac_size: code?.size ?? read.codeSize ?? size,
      default_ifac_size: size,
      discoverable: read.discoverableEvery !== undefined,
      discovery_announce_interval: read.discoverableEvery ?? null,
      ifac_netname: networkName ?? null,
      ifac_netkey: passphrase ?? null,
      ifac_active: code !== undefined,
      ic_max_held_announces: ic.held,
      ic_burst_hold: ic.calmTime / 1000,
      ic_burst_freq_new: ic.announceRateYoung,
      ic_burst_freq: ic.announceRate,
      ic_new_time: ic.youngFor / 1000,
      ic_burst_penalty: ic.penalty / 1000,
      ic_held_release_interval: ic.releaseEvery / 1000,
    };
  },
};
