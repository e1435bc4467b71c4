# The template backend. Copy the folder; a vendor's flags and sources would be named here.
