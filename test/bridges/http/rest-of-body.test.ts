import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { eventually, openGateway } from '../gateway.ts';

/*
 * A piece that is refused before its end: many clients write a body to its end before they look for an answer, and send the
 * next request behind it. What they still send is read and forgotten.
 */

async function openUpload(length: number) {
  const gateway = await openGateway({ http: { ntfy: { topics: { door: 'app:a' } } } });
  const token = await gateway.client('a');
  const { hostname, port } = new URL(gateway.url);
  const common = `Host: ${hostname}:${port}\r\nAuthorization: Bearer ${token}\r\nTus-Resumable: 1.0.0\r\n`;
  const made = await gateway.call(token, 'POST', '/v1/uploads', undefined, {
    headers: { 'upload-length': String(length) },
  });
  const path = made.headers.get('location') ?? '';
  return {
    gateway,
    common,
    patch: (headers: string) =>
      `PATCH ${path} HTTP/1.1\r\n${common}Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n${headers}\r\n`,
    head: `HEAD ${path} HTTP/1.1\r\n${common}\r\n`,
    look: () => gateway.call(token, 'GET', path),
    async dial() {
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      return socket;
    },
    [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
  };
}

/** The statuses of what comes back on a connection. */
function statuses(socket: Socket): { readonly all: () => Promise<string> } {
  let text = '';
  socket.setEncoding('latin1').on('data', chunk => {
    text += chunk;
  });
  return { all: async () => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status).join(' ') };
}

test('what comes behind the end of an upload is read and forgotten, and its connection goes on', async () => {
  await using upload = await openUpload(10);
  const socket = await upload.dial();
  const seen = statuses(socket);
  const chunk = Buffer.alloc(64 * 1024, 'x');
  socket.write(upload.patch('Transfer-Encoding: chunked\r\n'));
  for (let n = 0; n < 256; n++) {
    socket.write(`${chunk.length.toString(16)}\r\n`);
    socket.write(chunk);
    socket.write('\r\n');
  }
  socket.write(`0\r\n\r\n${upload.head}`);
  socket.on('error', () => {});
  await eventually(seen.all, '413 200').finally(() => socket.destroy());
  socket.destroy();
});

test('a piece that was stopped is read to its end, and its connection goes on', async () => {
  const length = 4 * 1024 * 1024;
  await using upload = await openUpload(length);
  const socket = await upload.dial();
  const seen = statuses(socket);
  socket.write(`${upload.patch(`Content-Length: ${length}\r\n`)}${'x'.repeat(1000)}`);
  // Whoever asks where an upload stands ends the piece that is coming: its client may be gone for good.
  await eventually(async () => {
    await upload.look();
    return await seen.all();
  }, '409');
  socket.write(`${'x'.repeat(length - 1000)}${upload.head}`);
  await eventually(seen.all, '409 200').finally(() => socket.destroy());
});

const mebibytes = 'x'.repeat(4 * 1024 * 1024);

test('a form with too many files is read to its end, and its connection goes on', async () => {
  await using upload = await openUpload(10);
  const socket = await upload.dial();
  const seen = statuses(socket);
  const file = (n: number, bytes: string) =>
    `--b\r\nContent-Disposition: form-data; name="attachment"; filename="${n}"\r\n\r\n${bytes}\r\n`;
  const body = `${Array.from({ length: 33 }, (_, n) => file(n, 'abc')).join('')}${file(34, mebibytes)}--b--\r\n`;
  const headers = `Content-Type: multipart/form-data; boundary=b\r\nContent-Length: ${body.length}\r\n`;
  socket.write(`POST /v1/messages HTTP/1.1\r\n${upload.common}${headers}\r\n${body}${upload.head}`);
  await eventually(seen.all, '400 200').finally(() => socket.destroy());
});

test('what is published with a file that lies elsewhere is read to its end, and its connection goes on', async () => {
  await using upload = await openUpload(10);
  const socket = await upload.dial();
  const seen = statuses(socket);
  const headers = `X-Attach: https://files.example/a.png\r\nContent-Length: ${mebibytes.length}\r\n`;
  socket.write(`PUT /ntfy/door HTTP/1.1\r\n${upload.common}${headers}\r\n${mebibytes}${upload.head}`);
  await eventually(seen.all, '400 200').finally(() => socket.destroy());
});
