import { CompactEncrypt } from 'jose';
import { expect, test } from 'vitest';
import {
  type AccountFile,
  isAccountFile,
  openAccountFile,
  sealAccountFile,
} from '../../src/account-file/index.ts';
import { generateAccountKey } from '../../src/acme/index.ts';
import { type Content, sealedAnew } from './helpers/sealed-anew.ts';

const passphrase = 'correct horse battery';

async function account(): Promise<AccountFile> {
  const { privateJwk, thumbprint } = await generateAccountKey();
  return {
    server: {
      name: 'internal',
      directoryUrl: 'https://ca.example.org/dir',
      caBundle: '-----BEGIN CERTIFICATE-----\n',
      allowedHosts: ['ca2.example.org:8443'],
    },
    name: 'main',
    url: 'https://ca.example.org/acct/1',
    thumbprint,
    privateJwk,
    contact: ['mailto:ops@example.org'],
    termsAgreed: true,
    eabKid: 'kid-1',
    records: [
      'example.org. CAA 0 issue "ca.example.org; accounturi=https://ca.example.org/acct/1"',
    ],
    exportedAt: '2026-11-24T12:00:00.000Z',
  };
}

/** What a call says, and under which code; it must fail. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: 'ERR_ACCOUNT_FILE' });
  return (error as Error).message;
}

function edit(text: string, change: Record<string, unknown>): string {
  return JSON.stringify({ ...(JSON.parse(text) as object), ...change });
}

test('what was sealed is what is opened, and nothing of it but the label stands in clear', async () => {
  const given = await account();
  const text = await sealAccountFile(given, passphrase);
  expect(await openAccountFile(text, passphrase)).toEqual(given);
  expect(isAccountFile(text)).toBe(true);
  const file = JSON.parse(text) as Record<string, unknown>;
  expect(file).toEqual({
    format: 'pgacme-account',
    version: 1,
    directory_url: 'https://ca.example.org/dir',
    account_url: 'https://ca.example.org/acct/1',
    thumbprint: given.thumbprint,
    exported_at: '2026-11-24T12:00:00.000Z',
    sealed: file['sealed'],
  });
  expect(file['sealed']).toMatch(/^([\w-]+\.){4}[\w-]+$/);
  const header = Buffer.from(String(file['sealed']).split('.')[0] ?? '', 'base64url').toString();
  expect(JSON.parse(header)).toMatchObject({ alg: 'PBES2-HS512+A256KW', enc: 'A256GCM' });
  expect((JSON.parse(header) as { p2c: number }).p2c).toBeGreaterThanOrEqual(200_000);
  for (const secret of [given.privateJwk.d ?? '?', 'ops@example.org', 'kid-1', passphrase]) {
    expect(text).not.toContain(secret);
  }
});

test('without optional parts it is the same', async () => {
  const given = { ...(await account()), contact: [], records: [], termsAgreed: false };
  delete given.eabKid;
  delete given.server.caBundle;
  given.server.allowedHosts = [];
  expect(await openAccountFile(await sealAccountFile(given, passphrase), passphrase)).toEqual(
    given,
  );
});

test('an export from before allowed_hosts was in it is opened as well', async () => {
  const given = await account();
  const text = await sealAccountFile(given, passphrase);
  const older = await sealedAnew(text, passphrase, ({ server }) => {
    expect(server['allowed_hosts']).toEqual(['ca2.example.org:8443']);
    delete server['allowed_hosts'];
  });
  const opened = await openAccountFile(older, passphrase);
  expect(opened).toEqual({ ...given, server: { ...given.server, allowedHosts: [] } });
});

test('a wrong passphrase, a changed file and a short passphrase are told apart, without a secret in the sentence', async () => {
  const given = await account();
  const text = await sealAccountFile(given, passphrase);
  const said: string[] = [];
  const say = async (call: Promise<unknown>) => {
    const sentence = await refusal(call);
    said.push(sentence);
    return sentence;
  };
  expect(await say(openAccountFile(text, 'correct horse batterx'))).toMatch(
    /passphrase does not open this file/,
  );
  // What was sealed has a long one; a short one is as wrong as any.
  expect(await say(openAccountFile(text, 'short'))).toMatch(/passphrase does not open this file/);
  expect(await say(sealAccountFile(given, 'elevenchars'))).toMatch(/at least 12 characters/);
  const sealed = String((JSON.parse(text) as Record<string, unknown>)['sealed']);
  const parts = sealed.split('.');
  const flipped = (at: number) => {
    const part = parts[at] ?? '';
    const other = part.startsWith('A') ? 'B' : 'A';
    return edit(text, {
      sealed: parts.map((each, i) => (i === at ? other + part.slice(1) : each)).join('.'),
    });
  };
  for (const [at, sentence] of [
    // the header itself, content and tag
    [0, /changed or damaged/],
    [3, /changed or damaged/],
    [4, /changed or damaged/],
    // The wrapped key cannot be told from one that was wrapped with another passphrase.
    [1, /passphrase does not open/],
  ] as const) {
    expect(await say(openAccountFile(flipped(at), passphrase)), `part ${at}`).toMatch(sentence);
  }
  expect(await say(openAccountFile(edit(text, { sealed: 7 }), passphrase))).toMatch(/damaged/);
  for (const sentence of said) {
    expect(sentence).not.toContain(passphrase);
    expect(sentence).not.toContain(given.privateJwk.d ?? '?');
  }
}, 60_000);

test('what stands in clear is compared with what is sealed, member by member', async () => {
  const text = await sealAccountFile(await account(), passphrase);
  for (const [member, value] of Object.entries({
    directory_url: 'https://evil.example.org/dir',
    account_url: 'https://ca.example.org/acct/2',
    thumbprint: 'AAAA',
    exported_at: '2027-01-01T00:00:00.000Z',
  })) {
    expect(await refusal(openAccountFile(edit(text, { [member]: value }), passphrase))).toContain(
      `its ${member} is not the one that is sealed`,
    );
  }
}, 60_000);

test('a file that is none, or of a newer version, is not tried', async () => {
  for (const text of ['', '{}', 'PRIVATE KEY', '{"format":"other"}']) {
    expect(await refusal(openAccountFile(text, passphrase))).toMatch(
      /not an account that pgacme exported/,
    );
    expect(isAccountFile(text)).toBe(false);
  }
  const text = await sealAccountFile(await account(), passphrase);
  for (const cut of [text.slice(0, -3), text.slice(0, 60)]) {
    expect(isAccountFile(cut)).toBe(true);
    expect(await refusal(openAccountFile(cut, passphrase))).toMatch(/^The file is not whole: /);
  }
  expect(await refusal(openAccountFile(edit(text, { version: 2 }), passphrase))).toMatch(
    /version 2 .* Update pgacme/,
  );
  expect(await refusal(openAccountFile(edit(text, { version: '1' }), passphrase))).toMatch(
    /does not say which version/,
  );
});

test('a file that asks for more work than ours, or less, is refused before it is worked', async () => {
  const text = await sealAccountFile(await account(), passphrase);
  for (const [alg, p2c] of [
    ['PBES2-HS512+A256KW', 1000],
    ['PBES2-HS256+A128KW', 210_000],
  ] as const) {
    const sealed = await new CompactEncrypt(new TextEncoder().encode('{}'))
      .setProtectedHeader({ alg, enc: 'A256GCM' })
      .setKeyManagementParameters({ p2c })
      .encrypt(new TextEncoder().encode(passphrase));
    expect(await refusal(openAccountFile(edit(text, { sealed }), passphrase))).toMatch(/damaged/);
  }
  const [, ...rest] = String((JSON.parse(text) as Record<string, unknown>)['sealed']).split('.');
  for (const p2c of [1e12, 210_000.5]) {
    const header = { alg: 'PBES2-HS512+A256KW', enc: 'A256GCM', p2s: 'AAAA', p2c };
    const sealed = [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
    expect(await refusal(openAccountFile(edit(text, { sealed }), passphrase))).toMatch(/damaged/);
  }
});

test('a text that could forge what a terminal shows is neither taken nor sealed', async () => {
  const given = await account();
  const text = await sealAccountFile(given, passphrase);
  const forged = 'https://ca.example.org/\u001b]0;owned\u0007';
  const changes: ((content: Content) => void)[] = [
    (content) => (content.exported_at = '2026-01-01\u001b[2J'),
    (content) => (content.account_url = forged),
    (content) => (content.directory_url = content.server['directory_url'] = forged),
    ({ server }) => (server['name'] = 'internal\u202e'),
    ({ server }) => (server['allowed_hosts'] = ['ca.example.org', 'x\u009b2J']),
    ({ account }) => (account['name'] = 'main\n'),
    ({ account }) => (account['contact'] = ['mailto:\u001b[1A@example.org']),
    ({ account }) => (account['eab_kid'] = '\u200b'),
    (content) => (content.records = ['CAA \u001b[31mx']),
  ];
  for (const change of changes) {
    const said = await refusal(
      openAccountFile(await sealedAnew(text, passphrase, change), passphrase),
    );
    expect(said, String(change)).toMatch(/control or invisible characters/);
    expect(said).toMatch(/^[ -~]+$/);
  }
  expect(
    await refusal(
      sealAccountFile({ ...given, contact: ['mailto:\u001b[1A@example.org'] }, passphrase),
    ),
  ).toMatch(/control or invisible characters/);
}, 120_000);

test('a key that is not the one named, or none that signs, is neither sealed nor taken', async () => {
  const given = await account();
  const other = await generateAccountKey();
  expect(
    await refusal(sealAccountFile({ ...given, privateJwk: other.privateJwk }, passphrase)),
  ).toMatch(/not the key whose thumbprint/);
  delete given.privateJwk.d;
  expect(await refusal(sealAccountFile(given, passphrase))).toMatch(/not a private P-256/);
});
