import { hdlcFraming, kissFraming } from '../../../src/radio/framing/framing.ts';
import { frame, HdlcDeframer } from '../../../src/radio/framing/hdlc.ts';
import { KissDeframer, kissFrame } from '../../../src/radio/framing/kiss.ts';
import type { Commands } from '../command.ts';
import { bytesOf, hex, integerIf } from '../params.ts';

/** The command of a KISS frame that carries a packet. */
const dataCommand = 0;

export const commands: Commands = {
  hdlc_frame: params => ({ framed: hex(frame(bytesOf(params, 'data'))) }),
  // The two flags around it are not part of what was escaped.
  hdlc_escape: params => ({ escaped: hex(frame(bytesOf(params, 'data')).subarray(1, -1)) }),
  hdlc_deframe: params => {
    const framed = bytesOf(params, 'framed');
    const packet = new HdlcDeframer({ maxFrame: framed.length }).feed(framed)[0];
    if (packet === undefined) throw new Error('there is no whole HDLC frame in it');
    return { data: hex(packet) };
  },
  hdlc_deframe_stream: params => {
    const deframer = hdlcFraming.deframer({ longest: integerIf(params, 'hw_mtu') ?? 262_144 });
    return { frames: deframer.feed(bytesOf(params, 'stream')).map(hex) };
  },
  kiss_frame: params => ({ framed: hex(kissFrame(dataCommand, bytesOf(params, 'data'))) }),
  kiss_deframe: params => {
    const framed = bytesOf(params, 'framed');
    const found = new KissDeframer({ maxData: framed.length }).feed(framed)[0];
    if (found === undefined) throw new Error('there is no whole KISS frame in it');
    if (found.command !== dataCommand) throw new Error(`the frame has the command ${found.command}, not 0`);
    return { data: hex(found.data) };
  },
  kiss_deframe_stream: params => {
    const deframer = kissFraming.deframer({ longest: integerIf(params, 'hw_mtu') ?? 262_144 });
    return { frames: deframer.feed(bytesOf(params, 'stream')).map(hex) };
  },
};
