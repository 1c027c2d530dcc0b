import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startOwned } from '../../src/local/owned-process.ts';
import { freePort } from '../../src/local/ports.ts';
import { which } from '../../src/local/run.ts';
import { type Http01Responder, startHttp01 } from '../../src/solver/http01.ts';
import { Published } from '../../src/solver/published.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';

const TOKEN = 'a-token-of-more-than-22-characters';
const PATH = `/.well-known/acme-challenge/${TOKEN}`;

/** A responder that answers with the host that was asked. */
async function responder(): Promise<Http01Responder> {
  const lookUp = (token: string, host: string) => Promise.resolve(`${token} ${host}`);
  const started = await startHttp01({ host: '127.0.0.1', port: 0, lookUp });
  onTestFinished(() => started.stop());
  return started;
}

/** Connections that each have sent a part of a request; those that were ended are left out of `open()`. */
async function halfSent(port: number, count: number, before = ''): Promise<{ open: () => number }> {
  const sockets: Socket[] = [];
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
  for (let i = 0; i < count; i++) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(`${before}GET ${PATH} HTTP/1.1\r\nHost: a.exa`);
    sockets.push(socket);
  }
  const open = () => sockets.filter(({ destroyed }) => !destroyed).length;
  await until(() => sockets.every((socket) => socket.bytesWritten > 0 || socket.destroyed), {
    what: 'every part is sent',
  });
  return { open };
}

async function answer(port: number, host = 'a.example.org'): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { port, host: '127.0.0.1', path: PATH, headers: { host } },
      (response) => {
        response.setEncoding('utf8');
        let body = '';
        response.on('data', (text: string) => (body += text));
        response.on('end', () => resolve(body));
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** What the responder sends for bytes that no client library would send. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let all = '';
    socket.setEncoding('utf8');
    socket.on('data', (part: string) => (all += part));
    socket.on('end', () => resolve(all));
    socket.on('error', reject);
  });
}

test('a thousand requests that are sent by halves delay no whole one', async () => {
  const { port } = await responder();
  const { open } = await halfSent(port, 1200);
  for (let i = 0; i < 20; i++) expect(await answer(port)).toBe(`${TOKEN} a.example.org`);
  await until(() => open() <= 100, { what: 'the oldest are ended' });
});

test('nor do those that begin with a whole request', async () => {
  const { port } = await responder();
  const whole = `GET ${PATH} HTTP/1.1\r\nHost: a.example.org\r\n\r\n`;
  await halfSent(port, 1200, whole);
  for (let i = 0; i < 20; i++) expect(await answer(port)).toBe(`${TOKEN} a.example.org`);
});

test('a request that stays unfinished is ended', async () => {
  const { port } = await responder();
  const { open } = await halfSent(port, 1);
  await until(() => open() === 0, { what: 'it is ended', timeoutMs: 30_000 });
});

test('a request in absolute form is answered, and its host counts', async () => {
  const { port } = await responder();
  const head = `GET http://B.example.org.:80${PATH} HTTP/1.1\r\nHost: a.example.org\r\nConnection: close\r\n\r\n`;
  const text = await raw(port, head);
  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(text.split('\r\n\r\n')[1]).toBe(`${TOKEN} b.example.org`);
});

test('the host is a name without port, an IPv6 address without brackets', async () => {
  const { port } = await responder();
  expect(await answer(port, 'A.Example.org:8080')).toBe(`${TOKEN} a.example.org`);
  expect(await answer(port, '[2001:db8::1]:80')).toBe(`${TOKEN} 2001:db8::1`);
});

test('a token that two CAs gave is answered by the name that is asked', () => {
  const published = new Published();
  const forget = published.keep(TOKEN, 'a.example.org', 'for a');
  published.keep(TOKEN, 'b.example.org', 'for b');
  expect(published.get(TOKEN, 'a.example.org')).toBe('for a');
  expect(published.get(TOKEN, 'b.example.org')).toBe('for b');
  forget();
  expect(published.get(TOKEN, 'a.example.org')).toBeUndefined();
});

test('a proxy that keeps its connections open gets every request answered', async ({ skip }) => {
  const nginx = (await which('nginx')) ?? (await which('/usr/sbin/nginx'));
  if (nginx === undefined) return skip('nginx is not installed');
  const { port } = await responder();
  const front = await nginxBefore(nginx, port);
  // Slow ones beside it, from the address that the proxy has as well.
  await halfSent(port, 300);
  const answers = await Promise.all(Array.from({ length: 400 }, () => answer(front)));
  expect(new Set(answers)).toEqual(new Set([`${TOKEN} a.example.org`]));
});

/** An nginx that passes requests on, over connections that it keeps; returns its port. */
async function nginxBefore(program: string, upstream: number): Promise<number> {
  const dir = await testFolder('nginx');
  const port = await freePort();
  const file = join(dir, 'nginx.conf');
  await writeFile(
    file,
    `daemon off;
master_process off;
pid ${dir}/nginx.pid;
error_log stderr notice;
events { worker_connections 2048; }
http {
  access_log off;
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  upstream responder { server 127.0.0.1:${upstream}; keepalive 300; }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location /.well-known/acme-challenge/ {
      proxy_pass http://responder;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
`,
  );
  const running = startOwned({
    command: program,
    args: ['-c', file, '-p', dir],
    stopSignals: ['SIGTERM', 'SIGKILL'],
    stopMs: 3000,
  });
  onTestFinished(() => running.stop());
  await until(
    async () => {
      const why = running.exit();
      if (why !== undefined) throw new Error(`nginx ended: ${why} ${running.tail().join(' ')}`);
      return answer(port).then(
        () => true,
        () => false,
      );
    },
    { what: 'nginx answers' },
  );
  return port;
}
