import { fromHex, Reader, toHex } from '../lib/bytes.ts';
import { isGatewayError } from '../lib/errors.ts';
import { contexts, decodePacket, type Packet, packetHash } from '../mesh/reticulum/packet.ts';

/** A packet as a person reads it, and the same as data. */
export interface Drawing {
  readonly text: string;
  readonly fields: Readonly<Record<string, string | number | boolean>>;
}

/** Draws one packet with the code the mesh uses. Throws `wire/*`. */
export function drawPacket(hex: string): Drawing {
  const bytes = fromHex(hex.replace(/[\s:]/g, ''));
  const packet = decodePacket(bytes);
  const fields = {
    'packet type': packet.packetType,
    'destination type': packet.destinationType,
    propagation: packet.propagation,
    'context flag': packet.contextFlag,
    hops: packet.hops,
    ...(packet.transportId === undefined ? {} : { 'transport id': toHex(packet.transportId) }),
    'destination hash': toHex(packet.destinationHash),
    context: contextName(packet.context),
    ...(packet.packetType === 'announce' ? announceFields(packet) : { data: toHex(packet.data) }),
    'packet hash': toHex(packetHash(bytes)),
  };
  const width = Math.max(...Object.keys(fields).map(name => name.length));
  const lines = Object.entries(fields).map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  return { text: lines.join('\n'), fields };
}

function contextName(context: number): string {
  const name = Object.entries(contexts).find(([, value]) => value === context)?.[0];
  return `0x${context.toString(16).padStart(2, '0')}${name === undefined ? '' : ` (${name})`}`;
}

/** The parts of an announce; whether its signature holds is not looked at. */
function announceFields(packet: Packet): Record<string, string | number> {
  const reader = new Reader(packet.data);
  const fields: Record<string, string | number> = {};
  try {
    fields['public key'] = toHex(reader.take(64, 'public key'));
    fields['name hash'] = toHex(reader.take(10, 'name hash'));
    fields['random blob'] = toHex(reader.take(10, 'random blob'));
    if (packet.contextFlag) {
      fields.ratchet = toHex(reader.take(32, 'ratchet'));
    }
    fields.signature = toHex(reader.take(64, 'signature'));
    fields['app data'] = toHex(reader.rest());
  } catch (error) {
    if (!isGatewayError(error)) {
      throw error;
    }
    fields.broken = error.message;
  }
  return fields;
}
