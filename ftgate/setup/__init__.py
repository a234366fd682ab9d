"""What `ftgate init` writes: data files and models that a folder holds, and a policy and a manifest for them."""
