import { parseIni, type Section } from '../../../src/cli/rns/ini.ts';
import { Keys } from '../../../src/cli/rns/keys.ts';
import { settingsOf as importedSettings } from '../../../src/cli/rns/settings.ts';
import { type Usage, usageOf } from '../../../src/cli/rns/usage.ts';
import { configSchema } from '../../../src/config.ts';
import { fromHex } from '../../../src/lib/bytes.ts';
import type { InterfaceMode } from '../../../src/mesh/reticulum/interface-policy.ts';
import { codeSizeDefault } from '../../../src/radio/config.ts';
import { tcpBitrate } from '../../../src/radio/tcp-client.ts';
import { meshConfigSchema } from '../../../src/start/mesh-config.ts';
import type { Params } from '../command.ts';
import { flagIf, flagOf, integerIf, textIf, textsOf } from '../params.ts';

/** What the suite configures a node with, as the program reads it. */
export interface NodeSettings {
  readonly forwards: boolean;
  /** Whether proofs carry the hash of what they prove. */
  readonly explicitProofs: boolean;
  readonly answersProbes: boolean;
  /** Whether a device that fails ends the program. */
  readonly exitsOnInterfaceError: boolean;
  /** Identity hashes (hex) that may manage it; undefined where it cannot be managed. */
  readonly managers: ReadonlySet<string> | undefined;
  /** Identity hashes (hex). */
  readonly blackholeSources: readonly string[];
  readonly discoverySources: readonly string[];
  readonly rpcKey: Uint8Array | undefined;
  readonly mode: InterfaceMode;
  readonly networkName: string | undefined;
  readonly passphrase: string | undefined;
  /** Bytes. */
  readonly ifacSize: number;
  /** bit/s */
  readonly bitrate: number;
  readonly fixedMtu: number | undefined;
}

/** Bytes of an access code over TCP. */
export const defaultIfacSize = codeSizeDefault('tcp-client');

export function settingsOf(params: Params): NodeSettings {
  const { mode, networkName, passphrase, codeSize, bitrate } = interfaceSettings({
    mode: textIf(params, 'mode'),
    network_name: textIf(params, 'network_name'),
    passphrase: textIf(params, 'passphrase'),
    ifac_size: integerIf(params, 'ifac_size'),
    bitrate: integerIf(params, 'bitrate'),
  });
  const { enable_transport: forwards } = params;
  const managed = flagOf(params, 'enable_remote_management', false);
  const managers = identities(params, 'remote_management_allowed');
  return {
    // Left out it is on in the suite, null leaves it out of the configuration.
    forwards: forwards === undefined || forwards === true,
    explicitProofs: flagIf(params, 'use_implicit_proof') === false,
    answersProbes: flagOf(params, 'respond_to_probes', false),
    exitsOnInterfaceError: hubSettings({
      panic_on_interface_error: flagIf(params, 'panic_on_interface_error'),
    }).exitOnInterfaceError,
    managers: managed ? new Set(managers) : undefined,
    blackholeSources: identities(params, 'blackhole_sources'),
    discoverySources: identities(params, 'interface_discovery_sources'),
    rpcKey: keyOf(textIf(params, 'rpc_key')),
    mode,
    networkName,
    passphrase,
    ifacSize: codeSize ?? defaultIfacSize,
    bitrate: bitrate ?? tcpBitrate,
    fixedMtu: integerIf(params, 'fixed_mtu'),
  };
}

/** What the program makes of `[reticulum]` of the reference's configuration for itself. */
function hubSettings(values: Readonly<Record<string, boolean | undefined>>) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const text = ['[reticulum]', ...given.map(([key, value]) => `${key} = ${value ? 'Yes' : 'No'}`)].join('\n');
  const { hub } = importedSettings(parseIni(text), { taken: [], left: [] });
  return configSchema.parse({ hub }).hub;
}

/** A mode by the reference's word for it. */
export function modeOf(word: string): InterfaceMode {
  return interfaceSettings({ mode: word }).mode;
}

/** What the program makes of an interface's section of the reference's configuration. */
export function interfaceSettings(values: Readonly<Record<string, string | number | undefined>>): Usage {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  const text = ['[it]', ...given.map(([key, value]) => `${key} = ${value}`)].join('\n');
  return usageIn(parseIni(text).sections.get('it')!);
}

/** Throws where the reference does not start with what the section says. */
export function usageIn(section: Section): Usage {
  const keys = new Keys(section, section.name, { taken: [], left: [] });
  const usage = usageOf(keys);
  if (keys.mistakes.length > 0) throw new Error(keys.mistakes.join('; '));
  return usage;
}

/** Throws where one is no identity hash; each is there once. */
function identities(params: Params, name: string): readonly string[] {
  const sources = textsOf(params, name);
  return [...new Set(meshConfigSchema.parse({ blackhole: { sources } }).blackhole.sources)];
}

/** What is no hex is no key: the node has its own then. */
function keyOf(text: string | undefined): Uint8Array | undefined {
  try {
    return text === undefined ? undefined : fromHex(text);
  } catch {
    return undefined;
  }
}
