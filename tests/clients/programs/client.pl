# A SCIM client on Perl's HTTP::Tiny: `perl client.pl BASE TOKEN STEPS`; see test_clients.py for steps and answers.
use strict;
use warnings;
use HTTP::Tiny;
use MIME::Base64;
use IO::Uncompress::Gunzip qw(gunzip);

my ($base, $token, $steps) = @ARGV;
my $client = HTTP::Tiny->new(keep_alive => 1, max_redirect => 0, default_headers => { Authorization => "Bearer $token" });
my $id = "";
open(my $lines, "<", $steps) or die $!;
while (my $line = <$lines>) {
    chomp $line;
    my ($method, $path, $body, $framing) = split(/\t/, $line, -1);
    $path =~ s/\{id\}/$id/;
    my %options;
    if (length $body) {
        $options{headers} = { "Content-Type" => "application/scim+json" };
        my @parts = (substr($body, 0, 5), substr($body, 5));
        $options{content} = $framing eq "chunked" ? sub { shift @parts } : $body;
    }
    my $answer = $client->request($method, $base . $path, \%options);
    my $fields = $answer->{headers};
    my $content = $answer->{content};
    if (($fields->{"content-encoding"} // "") eq "gzip" and length $content) {
        gunzip(\$content => \my $plain);
        $content = $plain;
    }
    $id = $1 if $method eq "POST" and $content =~ /"id"\s*:\s*"([^"]+)"/;
    print join("\t", $answer->{status}, map({ $_ // "" } @$fields{qw(content-type location etag)}), encode_base64($content, "")), "\n";
}
