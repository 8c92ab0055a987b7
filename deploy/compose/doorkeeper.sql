-- Doorkeeper's tables as its generated migration makes them (a test compares them with those of the demo), two customers, and
-- the proxy's role. The tokens stand here in plain text and are for this playground only.
CREATE TABLE oauth_applications (
    id bigserial PRIMARY KEY,
    name character varying NOT NULL,
    uid character varying NOT NULL,
    secret character varying NOT NULL,
    redirect_uri text NOT NULL,
    scopes character varying DEFAULT '' NOT NULL,
    confidential boolean DEFAULT true NOT NULL,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE UNIQUE INDEX index_oauth_applications_on_uid ON oauth_applications (uid);
CREATE TABLE oauth_access_grants (
    id bigserial PRIMARY KEY,
    resource_owner_id bigint NOT NULL,
    application_id bigint NOT NULL REFERENCES oauth_applications (id),
    token character varying NOT NULL,
    expires_in integer NOT NULL,
    redirect_uri text NOT NULL,
    created_at timestamp without time zone NOT NULL,
    revoked_at timestamp without time zone,
    scopes character varying DEFAULT '' NOT NULL
);
CREATE INDEX index_oauth_access_grants_on_resource_owner_id ON oauth_access_grants (resource_owner_id);
CREATE INDEX index_oauth_access_grants_on_application_id ON oauth_access_grants (application_id);
CREATE UNIQUE INDEX index_oauth_access_grants_on_token ON oauth_access_grants (token);
CREATE TABLE oauth_access_tokens (
    id bigserial PRIMARY KEY,
    resource_owner_id bigint,
    application_id bigint NOT NULL REFERENCES oauth_applications (id),
    token character varying NOT NULL,
    refresh_token character varying,
    expires_in integer,
    revoked_at timestamp without time zone,
    created_at timestamp without time zone NOT NULL,
    scopes character varying,
    previous_refresh_token character varying DEFAULT '' NOT NULL
);
CREATE INDEX index_oauth_access_tokens_on_resource_owner_id ON oauth_access_tokens (resource_owner_id);
CREATE INDEX index_oauth_access_tokens_on_application_id ON oauth_access_tokens (application_id);
CREATE UNIQUE INDEX index_oauth_access_tokens_on_token ON oauth_access_tokens (token);
CREATE UNIQUE INDEX index_oauth_access_tokens_on_refresh_token ON oauth_access_tokens (refresh_token);
CREATE TABLE service_accounts (
    id bigserial PRIMARY KEY,
    email character varying NOT NULL,
    customer character varying NOT NULL,
    active boolean DEFAULT true NOT NULL
);

INSERT INTO service_accounts (email, customer, active) VALUES
    ('scim@acme.example', 'acme', true),
    ('scim@globex.example', 'globex', true);
INSERT INTO oauth_applications (name, uid, secret, redirect_uri, scopes, created_at, updated_at) VALUES
    ('acme', 'acme-uid', 'not-used-here', 'urn:ietf:wg:oauth:2.0:oob', 'scim', '2026-05-03 09:12', '2026-05-03 09:12'),
    ('globex', 'globex-uid', 'not-used-here', 'urn:ietf:wg:oauth:2.0:oob', 'scim', '2026-05-03 09:12', '2026-05-03 09:12');
-- ten years each, and the one of globex is revoked
INSERT INTO oauth_access_tokens (resource_owner_id, application_id, token, expires_in, created_at, revoked_at, scopes) VALUES
    (1, 1, 'demo-token-of-acme-not-a-secret', 315360000, '2026-05-03 09:12', NULL, 'scim'),
    (2, 2, 'demo-token-of-globex-not-a-secret', 315360000, '2026-05-03 09:12', '2026-11-20 16:03', 'scim');

-- may read, and nothing else; reader.sh sets its password
CREATE ROLE scim_witness LOGIN CONNECTION LIMIT 20;
GRANT USAGE ON SCHEMA public TO scim_witness;
GRANT SELECT ON oauth_access_tokens, oauth_applications, oauth_access_grants, service_accounts TO scim_witness;
