// An independent client of the gateway: discovery, token exchange, use, introspection, revocation, with `oauth4webapi`, which
// refuses whatever does not follow the standards.
// Input: {gateway, client, app, subject, type, bound, introspector, extra?}; prints what came of each step.
import * as oauth from 'oauth4webapi';

const { gateway, client: client_id, app, subject, type, bound, introspector, extra = {} } = JSON.parse(process.argv[2]);
const seen = { nonceRetries: 0, proofs: [] };
const loopback = {
  [oauth.allowInsecureRequests]: true,
  [oauth.customFetch]: (address, options) => {
    const proof = new Headers(options.headers).get('dpop');
    if (proof) seen.proofs.push(proof);
    return fetch(address, options);
  },
};

// RFC 8414, at the place where RFC 8414 puts it.
const issuer = new URL(gateway);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...loopback, algorithm: 'oauth2' }));
seen.metadata = server;

const client = { client_id };
const nobody = oauth.None();
const keys = bound ? await oauth.generateKeyPair('ES256') : undefined;
const DPoP = keys && oauth.DPoP(client, keys);

/** Once more where the gateway asks for its nonce; the handle has kept it from the answer. */
async function withNonce(act) {
  try {
    return await act();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    seen.nonceRetries += 1;
    return act();
  }
}

// RFC 8693.
const exchange = async (parameters) => {
  const answer = await oauth.genericTokenEndpointRequest(
    server, client, nobody, 'urn:ietf:params:oauth:grant-type:token-exchange', new URLSearchParams(parameters), { ...loopback, DPoP },
  );
  return oauth.processGenericTokenEndpointResponse(server, client, answer);
};
const token = await withNonce(() =>
  exchange({ subject_token: subject, subject_token_type: `urn:ietf:params:oauth:token-type:${type}`, audience: app, ...extra }),
);
seen.token = token;

// RFC 9068, verified by the gateway's published keys.
if (token.access_token.split('.').length === 3) {
  const address = `${gateway}/objects`;
  const headers = new Headers({ authorization: `Bearer ${token.access_token}` });
  if (!bound) {
    const request = new Request(address, { headers });
    const audience = JSON.parse(atob(token.access_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).aud;
    seen.claims = await oauth.validateJwtAccessToken(server, request, [audience].flat()[0], { ...loopback });
  }
}

// RFC 6750 or RFC 9449, at the resource.
const use = (method, path, body) =>
  withNonce(() =>
    oauth.protectedResourceRequest(
      token.access_token, method, new URL(path, gateway), new Headers({ 'content-type': 'application/json' }),
      body && JSON.stringify(body), { ...loopback, DPoP },
    ),
  );
const upload = await use('POST', '/request-upload', { filename: 'menu.jpg', size: 3, contentType: 'image/jpeg' });
seen.upload = { status: upload.status, body: await upload.json() };

// RFC 7662, as a workflow: the id of its token is its name, the token its password.
const workflow = { client_id: introspector.split('_')[2] };
const introspect = async () => {
  const answer = await oauth.introspectionRequest(
    server, workflow, oauth.ClientSecretBasic(introspector), token.access_token, loopback,
  );
  return oauth.processIntrospectionResponse(server, workflow, answer);
};
seen.introspection = await introspect();

// RFC 7009, and what is left of the token then.
const revoke = async () => {
  const answer = await oauth.revocationRequest(server, client, nobody, token.access_token, { ...loopback, DPoP });
  return oauth.processRevocationResponse(answer);
};
await revoke();
await revoke(); // a token that is no longer good is no error
seen.afterwards = { introspection: await introspect() };
try {
  seen.afterwards.status = (await use('GET', '/objects')).status;
} catch (error) {
  seen.afterwards.status = error.status;
  seen.afterwards.challenges = error.cause;
}
console.log(JSON.stringify(seen));
