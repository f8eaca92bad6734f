import { audioModes } from '../../mesh/lxmf/fields.ts';

/** What kind of file a name ends in: LXMF carries names and no media types. */
const mediaTypes: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  bmp: 'image/bmp',
  avif: 'image/avif',
  heic: 'image/heic',
  ogg: 'audio/ogg',
  opus: 'audio/ogg',
  mp3: 'audio/mpeg',
  m4a: 'audio/mp4',
  wav: 'audio/wav',
  flac: 'audio/flac',
  mp4: 'video/mp4',
  webm: 'video/webm',
  pdf: 'application/pdf',
  zip: 'application/zip',
  gz: 'application/gzip',
  json: 'application/json',
  txt: 'text/plain',
  md: 'text/markdown',
  csv: 'text/csv',
  log: 'text/plain',
};

const unknownMedia = 'application/octet-stream';
/** Audio that only LXMF has a name for: `mode` is one of `audioModes`. */
const lxmfAudio = 'audio/vnd.lxmf';
const longestName = 200;

/** The media type a file's name suggests. */
export function mediaTypeOf(name: string): string {
  const dot = name.lastIndexOf('.');
  return known(name.slice(dot + 1).toLowerCase()) ?? unknownMedia;
}

/** A peer's file name, fit to be shown and stored: no folders, no control characters, not endless, not empty. */
export function fileName(name: string): string {
  const plain = name
    .replace(/[/\\]/g, '_')
    .replace(/\p{Cc}/gu, '')
    .trim()
    .slice(0, longestName);
  return plain === '' || /^\.+$/.test(plain) ? 'file' : plain;
}

/** Name and media type of what an image field holds: its type is written as in a file name, by some as a media type. */
export function imageOf(named: string): { readonly name: string; readonly mediaType: string } {
  const ending = named
    .toLowerCase()
    .replace(/^image\//, '')
    .replace(/[^a-z0-9]/g, '')
    .slice(0, 16);
  const type = known(ending);
  const mediaType = type?.startsWith('image/') ? type : ending === '' ? unknownMedia : `image/${ending}`;
  return { name: ending === '' ? 'image' : `image.${ending}`, mediaType };
}

/** How an image field writes this media type; undefined where it is no image that clients show. */
export function imageType(mediaType: string): string | undefined {
  if (!mediaType.startsWith('image/')) {
    return undefined;
  }
  const ending = mediaType.slice('image/'.length);
  return ending === 'jpeg' ? 'jpg' : known(ending) === mediaType ? ending : undefined;
}

/** Name and media type of what an audio field holds. */
export function audioOf(mode: number): { readonly name: string; readonly mediaType: string } {
  return mode === audioModes.opusOgg
    ? { name: 'audio.ogg', mediaType: 'audio/ogg' }
    : { name: `audio.${mode < audioModes.opusOgg ? 'c2' : 'opus'}`, mediaType: `${lxmfAudio}; mode=${mode}` };
}

/** The mode under which an audio field carries this media type; undefined where clients could not play it. */
export function audioMode(mediaType: string): number | undefined {
  if (mediaType === 'audio/ogg') {
    return audioModes.opusOgg;
  }
  const mode = /^audio\/vnd\.lxmf; mode=(\d{1,3})$/.exec(mediaType)?.[1];
  return mode !== undefined && Number(mode) <= 0xff ? Number(mode) : undefined;
}

function known(ending: string): string | undefined {
  return Object.hasOwn(mediaTypes, ending) ? mediaTypes[ending] : undefined;
}
