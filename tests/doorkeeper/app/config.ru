# frozen_string_literal: true

require_relative "application"

Schema.create
run Vendor
