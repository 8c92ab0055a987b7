# frozen_string_literal: true

# The vendor in one file: Rails, the real Doorkeeper gem, SCIM behind `doorkeeper_authorize!`, and the buttons of its console.
# Debian's packages: ruby-doorkeeper, ruby-rails, ruby-pg, puma. Configured by environment only:
#
#   DATABASE_URL          PostgreSQL, the vendor's own database
#   TOKEN_SECRETS         plain | hashed | fallback        (hash_token_secrets, with `fallback: :plain`)
#   ACCESS_TOKEN_EXPIRES  seconds of access_token_expires_in, which the clean-up deletes by; 7200 unless given
#   SCIM_TOKEN_EXPIRES    seconds that a token for SCIM lives; ten years unless given
#   REUSE_ACCESS_TOKEN    1: two connections of one application and owner share a token
#   REFRESH_TOKEN         0: none is issued
#   OPEN_INTROSPECTION    1: every client may introspect every token
#   ROTATE_AT_ONCE        1: no column previous_refresh_token, so that a refresh revokes the old row itself

require "erb"
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "action_view/railtie"
require "doorkeeper"

TEN_YEARS = 10 * 365 * 24 * 3600

class Vendor < Rails::Application
  config.root = __dir__
  config.load_defaults 6.1
  config.eager_load = false
  config.consider_all_requests_local = false
  config.action_dispatch.show_exceptions = true
  config.hosts.clear
  config.secret_key_base = "only for tests " * 4
  config.logger = ActiveSupport::Logger.new($stderr)
  config.log_level = :warn
  # schema and logs are nobody's business here
  config.active_record.dump_schema_after_migration = false
  config.paths["log"] = File::NULL
end

Doorkeeper.configure do
  orm :active_record
  resource_owner_authenticator { ServiceAccount.find(params.require(:account)) } # whoever asks is signed in as that account
  skip_authorization { true }
  grant_flows %w[authorization_code client_credentials]
  force_ssl_in_redirect_uri false
  use_refresh_token unless ENV["REFRESH_TOKEN"] == "0"
  reuse_access_token if ENV["REUSE_ACCESS_TOKEN"] == "1"
  hash_token_secrets if ENV["TOKEN_SECRETS"] == "hashed"
  hash_token_secrets fallback: :plain if ENV["TOKEN_SECRETS"] == "fallback"
  access_token_expires_in Integer(ENV.fetch("ACCESS_TOKEN_EXPIRES", 7200))
  optional_scopes :scim, :"scim.write", :billing
  custom_access_token_expires_in { |context| context.scopes.exists?("scim") ? Integer(ENV.fetch("SCIM_TOKEN_EXPIRES", TEN_YEARS)) : nil }
  # a vendor that clears the old sessions of whoever authorizes anew
  before_successful_authorization do |controller, context|
    if controller.params[:clear].present?
      Doorkeeper::AccessToken.revoke_all_for(context.pre_auth.client.id, ServiceAccount.find(controller.params[:account]))
    end
  end
  allow_token_introspection { |_token, _client, _bearer| true } if ENV["OPEN_INTROSPECTION"] == "1"
end

Vendor.initialize!

class ServiceAccount < ActiveRecord::Base; end

# What the gem's own generators write, on Rails 6.1.
module Schema
  TEMPLATE = Doorkeeper::Engine.root.join("lib/generators/doorkeeper/templates/migration.rb.erb")

  def self.create
    return if ActiveRecord::Base.connection.table_exists?(:oauth_access_tokens)

    ActiveRecord::Migration.verbose = false
    Object.class_eval(ERB.new(File.read(TEMPLATE)).result_with_hash(migration_version: "[6.1]"))
    CreateDoorkeeperTables.new.migrate(:up)
    # the template: "Comment out this line if you want refresh tokens to be instantly revoked after use."
    ActiveRecord::Base.connection.remove_column(:oauth_access_tokens, :previous_refresh_token) if ENV["ROTATE_AT_ONCE"] == "1"
    ActiveRecord::Base.connection.create_table(:service_accounts) do |t|
      t.string :customer, null: false
      t.boolean :active, null: false, default: true
    end
  end
end

# The resource: what it was sent comes back, so that a test sees what reached it. `?need=scope+scope` demands scopes.
class ScimController < ActionController::Base
  skip_forgery_protection
  before_action -> { doorkeeper_authorize!(*params[:need].to_s.split) }

  def any
    render json: { schemas: ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], totalResults: 0, Resources: [],
                   token: doorkeeper_token.id, method: request.method, id: "1", body: request.raw_post },
           status: request.post? ? :created : :ok, content_type: "application/scim+json"
  end
end

# The vendor's console: each action is what its own staff or code would do, by way of Doorkeeper's models. Loopback only.
class ConsoleController < ActionController::Base
  skip_forgery_protection

  def ready
    render json: { doorkeeper: Doorkeeper::VERSION::STRING, rails: Rails.version }
  end

  def sign_up
    account = ServiceAccount.create!(customer: params.require(:name))
    app = Doorkeeper::Application.create!(name: params[:name], redirect_uri: "http://127.0.0.1/callback", scopes: "scim scim.write billing")
    render json: { account: account.id, application: app.id, uid: app.uid, secret: app.plaintext_secret }
  end

  def issue
    render json: issued(application, params[:account], params)
  end

  # "Regenerate token": the old one is revoked, a new one of the same application and owner takes its place.
  def regenerate
    old = Doorkeeper::AccessToken.find(params.require(:token))
    answer = Doorkeeper::AccessToken.transaction do
      old.revoke
      issued(old.application, old.resource_owner_id, scopes: old.scopes.to_s, expires_in: old.expires_in)
    end
    render json: answer
  end

  # What signing out of all sessions, or a re-authorization that clears what was there, calls.
  def revoke_all
    render json: { revoked: Doorkeeper::AccessToken.revoke_all_for(application.id, ServiceAccount.find(params.require(:account))) }
  end

  def destroy
    application.destroy!
    render json: {}
  end

  private

  def application
    Doorkeeper::Application.find(params.require(:application))
  end

  def issued(application, account, given)
    token = Doorkeeper::AccessToken.create!(
      application_id: application.id, resource_owner_id: account, scopes: given[:scopes].to_s,
      expires_in: given[:expires_in], use_refresh_token: given[:refresh].present?,
    )
    { id: token.id, token: token.plaintext_token, refresh_token: token.plaintext_refresh_token }
  end
end

Vendor.routes.draw do
  use_doorkeeper { skip_controllers :applications, :authorized_applications }
  match "/scim/v2/*resource", to: "scim#any", via: :all
  get "/console/ready", to: "console#ready"
  %w[sign_up issue regenerate revoke_all destroy].each { |name| post "/console/#{name}", to: "console##{name}" }
end
